package edge

import (
	"net/http"
	"strconv"
	"time"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// dynamicField is the name of CMSD-Dynamic (CTA-5006), as net/http spells it. What an origin says in it is of the
// moment of its answer, and is not kept.
const dynamicField = "Cmsd-Dynamic"

// dynamic puts what the edge says of itself and of the way to the viewer into the header of an answer. It is the only
// item: there are players that take the whole field for one.
func (x *exchange) dynamic(header http.Header) {
	var last *h1.TCPInfo
	if c, ok := x.w.ResponseWriter.(h1.Connection); ok {
		last = c.LastTCP()
	}
	delay := time.Duration(0)
	if x.fetch != nil {
		delay = x.h.now().Sub(x.row.Time)
	}
	header[dynamicField] = []string{string(x.h.appendHop(make([]byte, 0, 96), last, delay))}
}

// appendHop appends the edge's item of CMSD-Dynamic. last is how the connection fared; nil if that is not known. delay
// is the time to the answer, if the origin had a part in it.
func (h *Handler) appendHop(b []byte, last *h1.TCPInfo, delay time.Duration) []byte {
	b = append(b, h.hop...)
	if h.duress() {
		b = append(b, ";du"...)
	}
	if last != nil {
		if kbits := last.Throughput * 8 / 1000; kbits > 0 {
			b = strconv.AppendInt(append(b, ";etp="...), kbits, 10)
		}
		if last.RTT > 0 {
			b = strconv.AppendInt(append(b, ";rtt="...), milliseconds(last.RTT), 10)
		}
	}
	if delay > 0 {
		b = strconv.AppendInt(append(b, ";rd="...), milliseconds(delay), 10)
	}
	return b
}

func milliseconds(d time.Duration) int64 { return int64(d.Round(time.Millisecond) / time.Millisecond) }

// duress reports whether the edge has more to do than it should: more than half of what may wait for the origin does.
func (h *Handler) duress() bool { return h.fetches.crowded() || h.passes.crowded() }
