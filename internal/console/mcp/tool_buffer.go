package mcp

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir/internal/analytics"
)

type bufferIn struct {
	Session     string `json:"session" jsonschema:"session ID (CMCD sid) or the beginning of one that no other session shares"`
	ThresholdMS int    `json:"threshold_ms,omitempty" jsonschema:"a buffer shorter than this is low; default 500"`
}

// BufferTrack sums up the buffer lengths that the player told.
type BufferTrack struct {
	ObjectType string   `json:"object_type" jsonschema:"v, av or a: the track whose buffer this is; empty if the player told none"`
	Samples    int      `json:"samples" jsonschema:"buffer lengths told after startup"`
	Minimum    *float64 `json:"minimum_seconds,omitempty"`
	P5         *float64 `json:"p5_seconds,omitempty" jsonschema:"5th percentile"`
	Average    *float64 `json:"average_seconds,omitempty" jsonschema:"mean of what was told"`
}

// RebufferEvidence is a rebuffer with the requests before it.
type RebufferEvidence struct {
	analytics.Rebuffer
	Before []analytics.Exchange `json:"requests_before" jsonschema:"the last requests begun before the picture stood still, in order of time"`
}

// LowSpan is a time in which the buffer was low.
type LowSpan struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to" jsonschema:"when the player next told a longer buffer, or its last word"`
	Duration float64   `json:"duration_seconds"`
	Minimum  float64   `json:"minimum_seconds"`
	Samples  int       `json:"samples"`
}

type bufferOut struct {
	SessionID     string             `json:"session_id"`
	Threshold     float64            `json:"threshold_seconds"`
	Buffer        BufferTrack        `json:"buffer"`
	Rebuffers     []RebufferEvidence `json:"rebuffers"`
	RebufferCount int                `json:"rebuffer_count" jsonschema:"also of those that are not shown"`
	RebufferTime  float64            `json:"rebuffer_time_seconds" jsonschema:"also of those that are not shown"`
	PlayedTime    float64            `json:"played_time_seconds"`
	RebufferRatio float64            `json:"rebuffer_ratio" jsonschema:"rebuffer time over itself and played time"`
	LowSpans      []LowSpan          `json:"low_buffer_spans" jsonschema:"outside startup"`
	Truncated     bool               `json:"truncated"`
	Provenance    Provenance         `json:"provenance"`
}

const defaultThreshold = 500 // milliseconds

func (s *Server) bufferEvents(ctx context.Context, in bufferIn) (bufferOut, string, error) {
	details, err := s.session(ctx, in.Session)
	if err != nil {
		return bufferOut{}, "", err
	}
	if in.ThresholdMS == 0 {
		in.ThresholdMS = defaultThreshold
	}
	session := details.Session
	out := bufferOut{
		SessionID: session.ID, Threshold: float64(in.ThresholdMS) / 1e3,
		Rebuffers: []RebufferEvidence{}, RebufferCount: len(session.Rebuffers), RebufferTime: session.RebufferTime, PlayedTime: session.PlayedTime,
		RebufferRatio: session.RebufferRatio, LowSpans: []LowSpan{}, Truncated: details.Truncated, Provenance: provenanceOf(details),
	}
	kind, lengths := bufferTrack(details.Exchanges)
	lengths = afterStartup(session, lengths, out.Threshold)
	out.Buffer = sumUp(kind, lengths)
	spans := lowSpans(lengths, out.Threshold)
	if len(spans) > maxFindings {
		spans, out.Truncated = spans[:maxFindings], true
	}
	out.LowSpans = append(out.LowSpans, spans...)
	rebuffers := session.Rebuffers
	if len(rebuffers) > maxFindings {
		rebuffers, out.Truncated = rebuffers[:maxFindings], true
	}
	for _, r := range rebuffers {
		out.Rebuffers = append(out.Rebuffers, RebufferEvidence{Rebuffer: r, Before: before(details.Exchanges, r.Time)})
	}
	out.Provenance.Assumptions = append(out.Provenance.Assumptions,
		"start and seeks are no rebuffers; evidence: sta = the player said so, bsd = it told the length, bs = its flag confirmed by the predicted buffer, drain = the predicted buffer alone",
		"low-buffer spans and the buffer's figures leave out startup; buffer lengths are known only where the player told them")
	return out, out.text(), nil
}

func (out bufferOut) text() string {
	var text sheet
	text.line("Session %s: buffer of %q after startup: %d samples, minimum %s s, 5th percentile %s s, average %s s.",
		out.SessionID, out.Buffer.ObjectType, out.Buffer.Samples, optional(out.Buffer.Minimum), optional(out.Buffer.P5), optional(out.Buffer.Average))
	text.line("%d rebuffers, %s s in all; played %s s; rebuffer ratio %s.", out.RebufferCount, number(out.RebufferTime), number(out.PlayedTime), number(out.RebufferRatio))
	for _, r := range out.Rebuffers {
		text.exchanges("Rebuffer at "+clock(r.Time)+" of "+number(r.Duration)+" s, found by "+r.Evidence+"; the requests before it", r.Before)
	}
	var rows [][]string
	for _, l := range out.LowSpans {
		rows = append(rows, []string{clock(l.From), clock(l.To), number(l.Duration), number(l.Minimum)})
	}
	text.table("Buffer below "+number(out.Threshold)+" s", []string{"from", "to", "duration_s", "minimum_s"}, rows)
	if out.Truncated {
		text.line("\ntruncated: the session is longer than what is shown; read parts of it with get_session_details and from, to.")
	}
	text.origin(out.Provenance)
	return text.text()
}

// length is a buffer length that the player told.
type length struct {
	at      time.Time
	seconds float64
}

// bufferTrack returns the buffer lengths of the video; of the audio where there is no video.
func bufferTrack(list []analytics.Exchange) (kind string, lengths []length) {
	byKind := map[string][]length{}
	for _, e := range list {
		if e.BufferLength != nil {
			byKind[e.ObjectType] = append(byKind[e.ObjectType], length{e.Time, *e.BufferLength})
		}
	}
	for _, kind := range []string{"v", "av", "a"} {
		if len(byKind[kind]) > 0 {
			return kind, byKind[kind]
		}
	}
	return "", nil
}

// afterStartup leaves out what was told before the first frame; where that is not known, before
// the buffer was first above the threshold.
func afterStartup(session analytics.Session, lengths []length, threshold float64) []length {
	i := slices.IndexFunc(lengths, func(l length) bool {
		if session.StartupTime == nil {
			return l.seconds >= threshold
		}
		return l.at.Sub(session.Start).Seconds() >= *session.StartupTime
	})
	if i < 0 {
		return nil
	}
	return lengths[i:]
}

func sumUp(kind string, lengths []length) BufferTrack {
	track := BufferTrack{ObjectType: kind, Samples: len(lengths)}
	if len(lengths) == 0 {
		return track
	}
	sorted := make([]float64, len(lengths))
	sum := 0.0
	for i, l := range lengths {
		sorted[i] = l.seconds
		sum += l.seconds
	}
	slices.Sort(sorted)
	average := sum / float64(len(sorted))
	p5 := sorted[max(0, int(math.Ceil(0.05*float64(len(sorted))))-1)] // nearest rank
	track.Minimum, track.P5, track.Average = &sorted[0], &p5, &average
	return track
}

func lowSpans(lengths []length, threshold float64) []LowSpan {
	var out []LowSpan
	low := false
	for _, l := range lengths {
		switch {
		case l.seconds < threshold && !low:
			out = append(out, LowSpan{From: l.at, To: l.at, Minimum: l.seconds, Samples: 1})
			low = true
		case low:
			span := &out[len(out)-1]
			span.To = l.at
			span.Duration = span.To.Sub(span.From).Seconds()
			if low = l.seconds < threshold; low {
				span.Minimum = min(span.Minimum, l.seconds)
				span.Samples++
			}
		}
	}
	return out
}

// before returns the last requests that were begun by t. What the player said with each of them is
// left out: the columns that matter are there.
func before(list []analytics.Exchange, t time.Time) []analytics.Exchange {
	end := 0
	for end < len(list) && !list[end].Time.After(t) {
		end++
	}
	out := slices.Clone(list[max(0, end-evidenceRows):end])
	for i := range out {
		out[i].CMCD = nil
	}
	return append([]analytics.Exchange{}, out...)
}
