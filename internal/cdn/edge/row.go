package edge

import (
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
	"github.com/weir-stream/weir/internal/telemetry"
)

// finish completes the row and hands it on.
func (x *exchange) finish() {
	h, r, row := x.h, x.r, &x.row
	end := h.now()
	row.Duration = end.Sub(row.Time)
	if first := x.w.first; !first.IsZero() {
		row.TTFB = first.Sub(row.Time)
	} else if x.w.status != 0 {
		row.TTFB = row.Duration
	}
	row.Client, row.ClientPort = x.client, x.port
	row.UserAgent, row.Referer = telemetry.Clip(r.UserAgent()), telemetry.Clip(r.Referer())
	row.Method, row.Host, row.Proto = telemetry.Clip(r.Method), telemetry.Clip(r.Host), r.Proto
	row.Path, row.Query = x.target.Path, x.target.Query
	if x.target.Key == "" {
		row.Path = r.URL.Path
		row.Query = cmcd.StripQuery(r.URL.RawQuery)
	}
	row.Range = telemetry.Clip(r.Header.Get("Range"))
	row.Status, row.Bytes = x.w.status, x.w.bytes
	row.ContentType = x.w.Header().Get("Content-Type")
	if r.Context().Err() != nil && x.w.err != nil {
		row.Aborted = true
	}
	if f := x.fetch; f != nil {
		row.OriginStatus, row.OriginTTFB, row.OriginDuration = f.Status, f.TTFB, f.Duration()
		row.Origin, row.OriginAddress, row.Queued = f.Origin, f.Address, f.Queued
	}
	if !row.HasCMCD { // of a request that was refused it has not been read
		readCMCD(row, r.URL.RawQuery, r.Header)
	}
	if row.Status < http.StatusBadRequest {
		h.prefetch.announced(x.rule, x.target, x.grant, row)
	}
	h.report(row)
}

// report completes what every row has and hands it on.
func (h *Handler) report(row *telemetry.Request) {
	row.ID, row.Edge = newID(row.Time), h.id
	row.Path, row.Query = telemetry.Clip(row.Path), telemetry.Clip(row.Query)
	row.Stream = message.StreamOf(row.Path)
	row.Kind = string(cdn.KindOf(row.Path))
	h.metrics.answered(row)
	h.observe(row)
}

// readCMCD notes what the player says with a request. It stands alone, and stays so, because the values are large:
// they would lie on the stack of whoever calls it for as long as an answer takes.
//
//go:noinline
func readCMCD(row *telemetry.Request, query string, header http.Header) {
	row.CMCD, row.HasCMCD = cmcd.FromRequest(query, header)
}

// newID returns a UUIDv7 of the time (RFC 9562 §5.7). It asks neither a lock nor the kernel, as uuid.NewV7 does: that is
// a fifth of what a hit costs. The runtime's generator is ChaCha8, seeded by the kernel.
func newID(t time.Time) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:8], uint64(t.UnixMilli())<<16|rand.Uint64()&0x0fff|0x7000)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()&(1<<62-1)|1<<63)
	return id
}

// connection asks the server's writer, if it can tell, how the connection fared.
func connection(w http.ResponseWriter) telemetry.TCP {
	if c, ok := w.(h1.Connection); ok {
		if t := c.TCP(); t != nil {
			return tcpOf(t)
		}
	}
	return telemetry.TCP{}
}
