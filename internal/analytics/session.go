package analytics

import "time"

// Session is one playback by one player, told by the CMCD session ID (sid). Every number is
// derived from the session's own records only.
type Session struct {
	// ID is the CMCD sid.
	ID string `json:"id" doc:"CMCD session ID (sid)"`
	// Stream is the stream or asset that was played; ContentID the CMCD cid.
	Stream    string `json:"stream"`
	ContentID string `json:"content_id,omitempty"`
	// Player is who played, and PlayerEvidence what told it: the player's own word ("org.svta-p-n"),
	// its habits of CMCD ("list_style", "spelling", "key_set"), or the user agent ("user_agent"). Format is
	// the streaming format ("hls", "dash"), Live whether it was live.
	Player         string `json:"player,omitempty"`
	PlayerEvidence string `json:"player_evidence,omitempty" doc:"What told the player: org.svta-p-n, list_style, spelling, key_set or user_agent"`
	Format         string `json:"format,omitempty"`
	Live           bool   `json:"live"`
	// CMCDVersion is the version of CMCD that the player speaks, 0 if all that is here are events of the
	// events API.
	CMCDVersion int    `json:"cmcd_version,omitempty" doc:"Absent if the player sends events of the events API alone"`
	Client      string `json:"client,omitempty"`
	UserAgent   string `json:"user_agent,omitempty"`
	Edge        string `json:"edge,omitempty"`

	// Start and End are the times of the first and last record; Active says that the last is
	// younger than the session timeout.
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Active bool      `json:"active"`

	Requests int   `json:"requests"`
	Reports  int   `json:"reports"`
	Bytes    int64 `json:"bytes"`
	// Errors is the number of requests answered with a status of 400 and above.
	Errors int `json:"errors"`
	// ClockOffset is how far the player's clock is behind the server's, in seconds: the smallest
	// difference between the receipt of a report and the time that it tells, so the time of the fastest
	// report is in it. Nil if no report tells a time; one that is a day off the others does not.
	ClockOffset *float64 `json:"clock_offset_seconds,omitempty" doc:"Server's clock less player's clock, with the way of the fastest report"`
	// LostReports is the number of reports that the player numbered (CMCD sn) and that are not here, as
	// they did not arrive or were not kept; UnseenRequests the same of requests: another server answered
	// them, or the player's cache, or their row was lost. What came before the first record counts only
	// if it is sure that it was sent. Nil if no report, no request is numbered.
	LostReports    *int `json:"lost_reports,omitempty" doc:"Reports that the player numbered and that are not here: they did not arrive, or were not kept. Absent if none is numbered"`
	UnseenRequests *int `json:"unseen_requests,omitempty" doc:"Requests that the player numbered and that no edge has a row of. Absent if none is numbered"`
	// Distrusted are the keys of which this player's values are not believed, or only in part, as far
	// as the session has them.
	Distrusted []Distrust `json:"distrusted,omitempty"`

	// HitRatio is the share of the session's requests that the edge answered without asking the
	// origin (hit, stale or collapsed), nil if no request has a cache status.
	HitRatio *float64 `json:"hit_ratio,omitempty"`

	// PlayedTime is the media delivered less what was still in the buffer, in seconds.
	PlayedTime float64 `json:"played_time_seconds"`
	// AverageBitrate is the encoded bitrate of the video (of the audio, where there is no video)
	// weighted by playing time, in bit/s; 0 if the player named none.
	AverageBitrate float64 `json:"average_bitrate"`
	// AverageThroughput is the mean of the throughput that the player measured, in bit/s.
	AverageThroughput float64 `json:"average_throughput"`
	// StartupTime is from the first request to the first frame, in seconds, nil if not known;
	// StartupEstimated says that it was inferred from requests.
	StartupTime      *float64 `json:"startup_time_seconds,omitempty"`
	StartupEstimated bool     `json:"startup_estimated"`
	// Rebuffers are the times at which the picture stood still, without start and seeks;
	// RebufferTime their total in seconds, and RebufferRatio that over itself and PlayedTime.
	Rebuffers     []Rebuffer `json:"rebuffers"`
	RebufferTime  float64    `json:"rebuffer_time_seconds"`
	RebufferRatio float64    `json:"rebuffer_ratio"`

	// Truncated says that the session has more records than were read. Start, End, Active, Requests
	// and Reports are of all, every other number is of the first ones.
	Truncated bool `json:"truncated,omitempty"`
}

// Distrust says of a CMCD key what is wrong with it in a session.
type Distrust struct {
	Key string `json:"key" doc:"CMCD key"`
	// Verdict is what is done with the values: "decode" (they are percent-encoded), "ignore",
	// "ignore_zero", "ignore_first", "ignore_implausible", "ignore_repeats", "corroborate" (something else
	// must bear it out), "of_seek" (belongs to a seek or to the start) or "absent" (the player never sends
	// it).
	Verdict string `json:"verdict"`
	// Why is the evidence, in a sentence.
	Why string `json:"why"`
}

// Rebuffer is one time at which the buffer ran dry during play.
type Rebuffer struct {
	Time     time.Time `json:"time"`
	Duration float64   `json:"duration_seconds"`
	// Evidence names the rule that found it: "sta", "bsd", "bs" or "drain".
	Evidence string `json:"evidence"`
}

// SessionFilter chooses sessions. The zero value chooses all.
type SessionFilter struct {
	From, To time.Time
	Stream   string
	// Prefix chooses sessions whose ID begins with it.
	Prefix string
	// Limit is the greatest number of sessions to return: newest first, and by ID where they
	// started at the same time. Before, if not zero, chooses sessions that started earlier; with
	// BeforeID they are those that come after the session of that start and ID (the cursor of the
	// next page).
	Limit    int
	Before   time.Time
	BeforeID string
}

// Exchange is one request of a session, as the session page and get_session_details show it.
type Exchange struct {
	ID          string    `json:"id"`
	Time        time.Time `json:"time"`
	Path        string    `json:"path"`
	Kind        string    `json:"kind"`
	Status      int       `json:"status"`
	Bytes       int64     `json:"bytes"`
	CacheStatus string    `json:"cache_status"`
	MissReason  string    `json:"miss_reason,omitempty" doc:"Why it was no hit: cold, expired, evicted, purged, ranged or uncacheable"`
	TTFB        float64   `json:"ttfb_seconds"`
	Duration    float64   `json:"duration_seconds"`
	// CollapsedWait is how long it waited for bytes of another request's fetch, Queued how long its own
	// fetch waited for its turn.
	CollapsedWait float64 `json:"collapsed_wait_seconds,omitempty" doc:"Waited for bytes of another request's fetch"`
	Queued        float64 `json:"queued_seconds,omitempty" doc:"The fetch waited for its turn to ask the origin"`
	// Origin names the origin that answered, OriginAddress is where it was.
	Origin         string  `json:"origin,omitempty" doc:"Name of the origin that answered"`
	OriginAddress  string  `json:"origin_address,omitempty" doc:"Where it was, as address:port"`
	OriginStatus   int     `json:"origin_status,omitempty"`
	OriginTTFB     float64 `json:"origin_ttfb_seconds,omitempty"`
	OriginDuration float64 `json:"origin_duration_seconds,omitempty"`
	// Tenant is whom the viewer's grant is for; Refusal why the request was refused, "" if it was not.
	Tenant  string `json:"tenant,omitempty" doc:"Whom the viewer's grant is for"`
	Refusal string `json:"refusal,omitempty" doc:"Why the request was refused, such as token-expired; absent if it was not"`
	Aborted bool   `json:"aborted,omitempty"`
	// TCP is what the kernel said of the connection, nil if it was not asked.
	TCP           *TCP              `json:"tcp,omitempty"`
	CMCD          map[string]string `json:"cmcd,omitempty" doc:"CMCD keys with their values as written on the wire"`
	ObjectType    string            `json:"object_type,omitempty"`
	Bitrate       float64           `json:"bitrate,omitempty"`
	BufferLength  *float64          `json:"buffer_length_seconds,omitempty"`
	BufferStarved bool              `json:"buffer_starved,omitempty"`
	// Response is what the player reported of the answer (CMCD event rr), nil if it did not.
	Response *Response `json:"response,omitempty"`
}

// TCP is what the edge's kernel said of the viewer's connection when the answer had been handed to it. Counts
// and times are since it was asked before on this connection, which is done for large answers.
type TCP struct {
	RTT           float64 `json:"rtt_seconds,omitempty" doc:"Smoothed round trip time"`
	MinRTT        float64 `json:"min_rtt_seconds,omitempty" doc:"Shortest round trip that the connection has had of late"`
	Sent          int64   `json:"sent_bytes" doc:"With what was sent again"`
	Retransmitted int64   `json:"retransmitted_bytes" doc:"Sent again, as it was lost or late"`
	Unsent        int64   `json:"unsent_bytes" doc:"Handed to the kernel and not sent yet"`
	DeliveryRate  float64 `json:"delivery_rate,omitempty" doc:"Last rate that the network was measured to deliver at, bit/s"`
	AppLimited    bool    `json:"app_limited,omitempty" doc:"The rate is a lower bound: the network was not given more"`
	Busy          float64 `json:"busy_seconds" doc:"There was something to send, or on its way"`
	RwndLimited   float64 `json:"rwnd_limited_seconds" doc:"Of that, waited for room at the viewer"`
	SndbufLimited float64 `json:"sndbuf_limited_seconds" doc:"Of that, waited for room in the send buffer"`
}

// Response is an answer as the player saw it.
type Response struct {
	// Time is when the player asked, by the server's clock.
	Time time.Time `json:"time"`
	// Status is the status code that reached the player, 0 if none did, nil if it did not say.
	Status *int `json:"status,omitempty"`
	// TTFB and TTLB are from asking to the first and to the last byte, in seconds; nil if the player
	// did not say, or said what cannot be.
	TTFB *float64 `json:"ttfb_seconds,omitempty"`
	TTLB *float64 `json:"ttlb_seconds,omitempty"`
}

// SessionDetails is a session with its records in the order of time.
type SessionDetails struct {
	Session   Session    `json:"session"`
	Exchanges []Exchange `json:"exchanges"`
	Reports   []Event    `json:"reports"`
	// Truncated says that the session has more records than were read.
	Truncated bool `json:"truncated"`
}

// Event is one report of a session's player.
type Event struct {
	Time  time.Time         `json:"time"`
	Event string            `json:"event"`
	State string            `json:"state,omitempty"`
	CMCD  map[string]string `json:"cmcd"`
	// SequenceNumber is the number that the player gave the report, nil if none.
	SequenceNumber *int64 `json:"sequence_number,omitempty"`
	// RequestID is the ID of the exchange that a report of a response (event rr) speaks of, "" if it is
	// not among those of the session.
	RequestID string `json:"request_id,omitempty"`
	// Playback is what an event of the events API says beyond CMCD, nil in all other reports.
	Playback *Playback `json:"playback,omitempty"`
}

// Playback is what CMCD has no key for, by the names of the events API. The zero value of a field means
// "not known".
type Playback struct {
	EventID    string   `json:"event_id,omitempty"`
	EventType  string   `json:"event_type,omitempty"`
	CustomerID string   `json:"customer_id,omitempty"`
	DeviceType string   `json:"device_type,omitempty"`
	DeviceOS   string   `json:"device_os,omitempty"`
	Quality    string   `json:"quality,omitempty"`
	Country    string   `json:"country,omitempty"`
	State      string   `json:"state,omitempty"`
	City       string   `json:"city,omitempty"`
	Watched    float64  `json:"watch_duration_seconds,omitempty"`
	Completion *float64 `json:"completion,omitempty" doc:"how much of the title was watched, from 0 to 1"`
}
