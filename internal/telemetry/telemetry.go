package telemetry

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
)

// Request is one HTTP request as the edge that answered it saw it. The zero value of a field means
// "not known", except where the comment says otherwise.
type Request struct {
	// ID identifies the record for ever (UUIDv7); stores use it to make Append idempotent.
	ID uuid.UUID
	// Time is when the edge had received the whole request head.
	Time time.Time
	// Edge is the identifier of the edge node.
	Edge string

	// Client is the viewer's address, ClientPort its port.
	Client     netip.Addr
	ClientPort uint16
	UserAgent  string
	Referer    string

	// Method, Host, Path and Query are the request's; Query is without the CMCD argument.
	Method, Host, Path, Query string
	// Proto is the HTTP version, such as "HTTP/1.1".
	Proto string
	// Stream is the stream or asset that Path belongs to, "" if none; Kind the kind of object
	// ("manifest", "init", "segment", "other").
	Stream string
	Kind   string
	// Range is the request's Range header.
	Range string

	// Status is the response's status code; Bytes the body bytes written to the connection.
	Status int
	Bytes  int64
	// ContentType is the response's media type.
	ContentType string
	// TTFB is from Time to the first byte of the response being handed to the connection;
	// Duration from Time to the last.
	TTFB, Duration time.Duration
	// Aborted says that the viewer went away before the last byte was written.
	Aborted bool

	// CacheStatus is "hit", "miss", "stale", "collapsed" or "bypass"; MissReason is "cold",
	// "expired", "evicted", "purged", "ranged" or "uncacheable" where it was no hit.
	CacheStatus, MissReason string
	// CollapsedWait is how long the request waited for a byte of another request's fetch.
	CollapsedWait time.Duration
	// OriginStatus is the origin's status, 0 if it was not asked or gave no answer. OriginTTFB and
	// OriginDuration are from the start of the fetch to its first and last byte.
	OriginStatus               int
	OriginTTFB, OriginDuration time.Duration

	// Origin names the origin that answered, OriginAddress is where it was.
	Origin, OriginAddress string
	// Queued is how long the fetch waited for its turn.
	Queued time.Duration

	// Tenant is whom the viewer's grant is for. Refusal is why the request was refused, "" if it was not.
	Tenant, Refusal string

	// TCP is what the kernel says of the connection over the time of the response; the zero value if it
	// was not asked.
	TCP TCP

	// CMCD is what the player said with the request; HasCMCD is false if it said nothing.
	CMCD    cmcd.Values
	HasCMCD bool
}

// TCP is what the kernel says of a connection (Linux tcp_info). The counts and times are those of one response;
// RTT, MinRTT, DeliveryRate and AppLimited are the state at its end.
type TCP struct {
	// RTT is the smoothed round trip time, MinRTT the least that has been seen.
	RTT, MinRTT time.Duration
	// Sent and Retransmitted are bytes; Unsent are those that were written and had not been sent yet.
	Sent, Retransmitted, Unsent int64
	// DeliveryRate is the last measured rate in bit/s. AppLimited says that it was the program and not the
	// network that limited it.
	DeliveryRate int64
	AppLimited   bool
	// Busy is how long there was something to send; of that, RwndLimited waited for room at the receiver,
	// SndbufLimited for room in the send buffer.
	Busy, RwndLimited, SndbufLimited time.Duration
}

// Known reports whether the kernel was asked.
func (t TCP) Known() bool { return t.RTT != 0 || t.Sent != 0 }

// Delivered reports whether the whole object went to the viewer, to be rendered. A 304 counts: the
// viewer had it already.
func (r *Request) Delivered() bool {
	ok := r.Status >= 200 && r.Status < 300 || r.Status == 304
	return ok && !r.Aborted && !r.CMCD.Bool(cmcd.KeyNR)
}

// Looked reports whether the cache was asked for the object, and whether it had it without asking
// the origin.
func (r *Request) Looked() (looked, hit bool) {
	switch r.CacheStatus {
	case "hit", "stale", "collapsed":
		return true, true
	case "":
		return false, false
	}
	return true, false
}

// Report is what a player posted to the collector: a CMCD record, or an event of the events API in
// the words of CMCD.
type Report struct {
	// ID identifies the record for ever. It begins with 48 bits of Unix time in milliseconds: of the
	// player's clock (UUIDv8) where the rest is made of what a resend of the record has as well, so
	// that both have the same ID; else of the receipt (UUIDv7).
	ID uuid.UUID
	// Time is when the collector received it; the player's own clock is the CMCD key ts. Records of
	// one body are a microsecond apart, in their order.
	Time time.Time
	// Edge is the identifier of the node that received it.
	Edge      string
	Client    netip.Addr
	UserAgent string
	// Path is the path that the report was posted to.
	Path string
	CMCD cmcd.Values
	// ClockOffset is what to add to the player's clock to have the server's: the smallest difference
	// of the session so far between receipt and ts; nil if it is not known. It is too large by the
	// time that the fastest report took on its way.
	ClockOffset *time.Duration
	// Playback is what an event of the events API says beyond CMCD, nil in all other reports.
	Playback *Playback
}

// Playback is what CMCD has no key for. The zero value of a field means "not known".
type Playback struct {
	// EventID and EventType are the sender's: its name for this event, and for events of this kind.
	EventID, EventType string
	// Customer is the subscriber.
	Customer             string
	DeviceType, DeviceOS string
	// Quality is the sender's word for it, such as "HD".
	Quality              string
	Country, State, City string
	// Watched is how long the viewer has watched, Completion how much of the title, from 0 to 1.
	Watched    time.Duration
	Completion *float64
}

// StateChange returns the player's state if the report is of a change of state (event ps), else "".
// The state in other reports is that of the moment they were sent, which is not the moment they
// speak of.
func (r *Report) StateChange() string {
	if r.CMCD.Text(cmcd.KeyE) != "ps" {
		return ""
	}
	return r.CMCD.Text(cmcd.KeySTA)
}

// MaxText is the greatest length of a text in a record, in bytes; see [Clip].
const MaxText = 2048

// Clip returns s, or its beginning if it is longer than [MaxText]. What viewers send is bounded only
// by the size of a request's head, and queues of records are bounded by number: so whoever makes a
// record clips its texts.
func Clip(s string) string {
	if len(s) <= MaxText {
		return s
	}
	return strings.Clone(s[:MaxText])
}

// Batch is a number of records in the order of their arrival.
type Batch struct {
	Requests []Request
	Reports  []Report
}

// Len returns the number of records in the batch.
func (b Batch) Len() int { return len(b.Requests) + len(b.Reports) }

// Sink is where batches end: a store, the session tracker. The bus calls it from one goroutine, in
// order, and calls it again with the same batch until it returns nil or a [Permanent] error; so
// Append must be idempotent by record ID. The batch is shared: Append must not change it or keep
// its slices after it has returned.
type Sink interface {
	Append(ctx context.Context, batch Batch) error
}

// ErrFull says that there is no room for records at the moment, and that none of them was taken.
var ErrFull = errors.New("no room for records at the moment")

// permanentError marks an error after which trying again is of no use.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks err so that the bus drops and counts the batch instead of trying it again.
func Permanent(err error) error { return permanentError{err} }

// IsPermanent reports whether err, or an error that it wraps, was marked by [Permanent].
func IsPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}
