package edge

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
	"github.com/weir-stream/weir/internal/telemetry"
)

const (
	// maxAheadSlices bounds the slices that one request makes the edge fetch ahead.
	maxAheadSlices = 4
	// maxPlaylist is the size of playlist above which nothing is read from it.
	maxPlaylist = 1 << 20
	// aheadOfPlaylist is how many segments of a playlist are fetched before anybody asks: of a live one the
	// newest, of another the first.
	aheadOfPlaylist = 2
)

// prefetcher fetches what players will ask for next. What it fetches is asked for by nobody, so it has a few
// places of its own, waits for none, and causes no further fetch.
type prefetcher struct {
	h     *Handler
	slots *limiter
}

// announced fetches what a player says that it will ask for next (CTA-5004 §3.1: nor, nrr): an object beside the
// one that it asks for now, or a range of it. It is not led out of what its grant is for.
func (p *prefetcher) announced(rule *Rule, t message.Target, grant access.Grant, row *telemetry.Request) {
	if !rule.Prefetch || !row.HasCMCD {
		return
	}
	next, ranged := row.CMCD.Text(cmcd.KeyNOR), row.CMCD.Text(cmcd.KeyNRR)
	if next == "" && ranged == "" {
		return
	}
	target := t
	if next != "" {
		var ok bool
		if target, ok = beside(rule, t, next); !ok || p.h.access != nil && !p.h.access.Covers(grant, t.Path, target.Path) {
			p.h.metrics.prefetches.WithLabelValues("refused").Inc()
			return
		}
	}
	if first, last, ok := rangeStart("bytes=" + ranged); ranged != "" && ok && p.h.sliceBytes > 0 {
		p.slices(rule, target, first, last)
		return
	}
	p.object(rule, target)
}

// beside returns the target that a reference from t leads to, if it lies in t's folder or below it.
func beside(rule *Rule, t message.Target, reference string) (message.Target, bool) {
	at := url.URL{Path: t.Path}
	u, err := at.Parse(reference)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return message.Target{}, false
	}
	targetOf := message.TargetOf
	if rule.Forward == ForwardRequest {
		targetOf = message.ExactTargetOf
	}
	next, ok := targetOf(u)
	folder := path.Dir(t.Path)
	if folder != "/" {
		folder += "/"
	}
	return next, ok && strings.HasPrefix(next.Path, folder) && next.Key != t.Key
}

// object fetches an object, if it is not there and there is a place.
func (p *prefetcher) object(rule *Rule, t message.Target) {
	if p.h.large.has(t.Key) {
		p.slice(rule, t, 0)
		return
	}
	p.start(rule, t, t.Key, -1)
}

func (p *prefetcher) slices(rule *Rule, t message.Target, first, last int64) {
	size := p.h.sliceBytes
	if last < 0 {
		last = first
	}
	for n := first / size; n <= min(last/size, first/size+maxAheadSlices-1); n++ {
		p.slice(rule, t, n)
	}
}

func (p *prefetcher) slice(rule *Rule, t message.Target, number int64) {
	p.start(rule, t, cache.SliceKey(t.Key, number), number)
}

func (p *prefetcher) start(rule *Rule, t message.Target, key string, slice int64) {
	count := func(result string) { p.h.metrics.prefetches.WithLabelValues(result).Inc() }
	if !p.slots.tryAcquire() {
		count("busy")
		return
	}
	l := p.h.cache.Get(cache.Query{Key: key, Now: p.h.now(), Ahead: true})
	if l.Object != nil {
		l.Object.Release()
	}
	if !l.Leader {
		p.slots.release()
		count("held")
		return
	}
	count("started")
	f := newFlight(l.Fill, rule, t, slice)
	f.ahead = true
	close(f.gone)
	if !p.h.begin() {
		p.slots.release()
		f.fill.Fail(errClosing, nil, p.h.now())
		return
	}
	go func() {
		defer p.h.running.Done()
		defer p.slots.release()
		p.h.fetch(f)
	}()
}

// playlist fetches what a playlist that has just come names, of which players will want the newest segments
// if it is live and the first ones if it is not.
func (p *prefetcher) playlist(f *flight, o *cache.Object) {
	body := o.Whole()
	if !f.rule.Prefetch || f.ahead || cdn.KindOf(f.target.Path) != cdn.Manifest || len(body) > maxPlaylist ||
		o.Status != http.StatusOK || !bytes.HasPrefix(body, []byte("#EXTM3U")) {
		return
	}
	for _, reference := range segmentsAhead(body) {
		if t, ok := beside(f.rule, f.target, reference); ok {
			p.object(f.rule, t)
		}
	}
}

// segmentsAhead returns the segments of a media playlist (RFC 8216 §4.3.2) that players begin with.
func segmentsAhead(playlist []byte) []string {
	var all []string
	ended, media := false, false
	for lines := bufio.NewScanner(bytes.NewReader(playlist)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(line, "#EXTINF"):
			media = true
		case line == "#EXT-X-ENDLIST":
			ended = true
		case line == "" || line[0] == '#':
		default:
			all = append(all, line)
		}
	}
	switch {
	case !media:
		return nil // of a multivariant playlist nobody knows which rendition is wanted
	case ended:
		return all[:min(len(all), aheadOfPlaylist)]
	default:
		return all[max(0, len(all)-aheadOfPlaylist):]
	}
}

// pace returns the rate that a player asks not to be exceeded (CTA-5004 §3.1: rtp, kbit/s), in bytes per second, 0
// if it asks for none.
func pace(rule *Rule, row *telemetry.Request) int64 {
	if !rule.Pace || !row.HasCMCD {
		return 0
	}
	kbits, ok := row.CMCD.Number(cmcd.KeyRTP)
	if !ok || kbits < minPace {
		return 0
	}
	return int64(kbits) * 1000 / 8
}

// minPace is the rate, in kbit/s, below which a wish is taken for a mistake.
const minPace = 100
