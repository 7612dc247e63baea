package tracker

import (
	"math"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// maxSeen is the number of record IDs that a second remembers; a record beyond it is counted
// without asking whether it is a duplicate.
const maxSeen = 50_000

// second counts the records of one second of the live window.
type second struct {
	unix     int64
	seen     map[uuid.UUID]struct{}
	starved  map[string]struct{} // sessions
	requests int64
	bytes    int64
	hits     float64
	looked   float64 // requests that have a cache status
	errors   int64
	answered int64   // requests that have a status: the others' viewers went away before
	bits     float64 // Σ bitrate × duration of video
	media    float64 // Σ duration of video that names a bitrate
	ttfb     histogram
}

func newSecond(unix int64) *second {
	return &second{unix: unix, seen: map[uuid.UUID]struct{}{}, starved: map[string]struct{}{}}
}

// first says whether a record is new to the second, and remembers it.
func (s *second) first(id uuid.UUID) bool {
	if id == uuid.Nil {
		return true
	}
	if _, ok := s.seen[id]; ok {
		return false
	}
	if len(s.seen) < maxSeen {
		s.seen[id] = struct{}{}
	}
	return true
}

func (s *second) count(r *telemetry.Request) {
	s.requests++
	s.bytes += r.Bytes
	if r.Status > 0 {
		s.answered++
	}
	if r.Status >= 400 {
		s.errors++
	}
	if asked, hit := r.Looked(); asked {
		s.looked++
		if hit {
			s.hits++
		}
	}
	if r.TTFB > 0 {
		s.ttfb.add(r.TTFB.Seconds())
	}
	kind := r.CMCD.Text(cmcd.KeyOT)
	if (kind == "v" || kind == "av") && r.Delivered() {
		d, _ := r.CMCD.Number(cmcd.KeyD)
		br, _ := r.CMCD.NumberFor(cmcd.KeyBR, kind)
		if d > 0 && br > 0 {
			s.bits += br * d // kbit/s × ms = bit
			s.media += d / 1e3
		}
	}
}

// histogram keeps the spread of times in a bounded size: bins that are each 5 % wider than the one
// before, from 10 µs to a hundred seconds.
type histogram struct {
	n    int64
	bins [histogramBins]uint32
}

const (
	histogramBins   = 332
	histogramLeast  = 10e-6
	histogramGrowth = 1.05
)

func (h *histogram) add(v float64) {
	bin := int(math.Log(v/histogramLeast) / math.Log(histogramGrowth))
	h.bins[min(max(bin, 0), histogramBins-1)]++
	h.n++
}

func (h *histogram) merge(o *histogram) {
	h.n += o.n
	for i, n := range o.bins {
		h.bins[i] += n
	}
}

// quantile is right to within 2.5 %; nil of no values.
func (h *histogram) quantile(q float64) *float64 {
	if h.n == 0 {
		return nil
	}
	rank := int64(math.Ceil(q * float64(h.n)))
	passed := int64(0)
	for i, n := range h.bins {
		if passed += int64(n); passed >= rank {
			v := histogramLeast * math.Pow(histogramGrowth, float64(i)+0.5)
			return &v
		}
	}
	return nil
}
