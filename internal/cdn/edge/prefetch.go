package edge

import (
	"bufio"
	"bytes"
	"cmp"
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
	// maxAnnounced bounds the objects that one request makes the edge fetch ahead.
	maxAnnounced = 4
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
	ranged := row.CMCD.Text(cmcd.KeyNRR)
	if ranged == "" && !row.CMCD.Has(cmcd.KeyNOR) {
		return
	}
	left := maxAnnounced
	for next := range row.CMCD.Items(cmcd.KeyNOR) {
		if left--; left < 0 {
			return
		}
		target, ok := beside(rule, t, next.Text)
		if !ok || !p.sameRule(rule, target) || !p.covers(grant, t.Path, target.Path) {
			p.h.metrics.prefetches.WithLabelValues("refused").Inc()
			continue
		}
		p.part(rule, target, cmp.Or(next.Range, ranged))
	}
	if left == maxAnnounced {
		t.Key, t.Host = strings.Clone(t.Key), strings.Clone(t.Host) // a hit's are used again
		p.part(rule, t, ranged)
	}
}

// part fetches a range of an object, or the object if there is none or it is not kept in slices.
func (p *prefetcher) part(rule *Rule, t message.Target, ranged string) {
	if first, last, ok := rangeStart("bytes=" + ranged); ranged != "" && ok && p.inSlices(rule, t, first) {
		p.slices(rule, t, first, last)
		return
	}
	p.object(rule, t)
}

// inSlices reports whether an object is kept in slices, or is asked for the first time and so far from its beginning
// that a viewer would get it so.
func (p *prefetcher) inSlices(rule *Rule, t message.Target, first int64) bool {
	h := p.h
	switch {
	case h.sliceBytes == 0 || rule.Live:
		return false
	case h.large.has(t.Key):
		return true
	case first < h.sliceBytes || rule.Forward != ForwardObject || h.whole.has(t.Key):
		return false
	}
	l := h.cache.Get(cache.Query{Key: t.Key, Now: h.now(), Probe: true})
	if l.Object == nil {
		return true
	}
	l.Object.Release()
	return false
}

// covers reports whether a viewer who may have the object at path may have the one at candidate.
func (p *prefetcher) covers(grant access.Grant, path, candidate string) bool {
	chain := p.h.access
	if chain == nil || !chain.Needs(path) && !chain.Needs(candidate) {
		return true
	}
	return chain.Covers(grant, path, candidate)
}

// sameRule reports whether what lies beside an object is under its rule. Under another it would be asked for in other
// words than viewers ask in, and what nobody was told of would be kept for them.
func (p *prefetcher) sameRule(rule *Rule, t message.Target) bool {
	return p.h.table.Load().rules.of(message.CleanPath(t.Path)) == rule
}

// beside returns the target that a reference from t leads to, if it lies in t's folder or below it.
func beside(rule *Rule, t message.Target, reference string) (message.Target, bool) {
	if strings.HasPrefix(reference, "..") { // also where the slash is escaped
		return message.Target{}, false
	}
	if plainName(reference) && message.Plain(t.Path) { // as nearly all are
		name, host := t.Path[:strings.LastIndexByte(t.Path, '/')+1]+reference, strings.Clone(t.Host)
		return message.Target{Key: host + name, Host: host, Path: name}, name != t.Path
	}
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
	next.Under(strings.Clone(t.Host))
	folder := path.Dir(t.Path)
	if folder != "/" {
		folder += "/"
	}
	return next, ok && strings.HasPrefix(next.Path, folder) && next.Key != t.Key
}

// plainName reports whether a reference is a name in the same folder that needs no escape.
func plainName(reference string) bool {
	for i := range len(reference) {
		c := reference[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.' && i > 0:
		default:
			return false
		}
	}
	return reference != ""
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
		t, ok := beside(f.rule, f.target, reference)
		if !ok || !p.sameRule(f.rule, t) {
			p.h.metrics.prefetches.WithLabelValues("refused").Inc()
			continue
		}
		p.object(f.rule, t)
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
