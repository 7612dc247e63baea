package edge

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
)

// Large objects are kept in slices: parts of one size, aligned, each an object of the cache under a key of its
// own, fetched with a range request when it is wanted. So a range deep in a large object does not wait for
// its beginning, and an object of which viewers see the beginning takes the room of the beginning.

// errSliced says that an object is too large to be fetched whole, errWhole that it cannot be had in slices.
var (
	errSliced = fmt.Errorf("%w: the object is too large to be kept in one piece", errOrigin)
	errWhole  = fmt.Errorf("%w: the object cannot be kept in slices", errOrigin)
	// errNotHeld says that a slice is not there, and that the origin is not to be asked.
	errNotHeld = errors.New("the object is not held")
)

// sliceBytesOf returns the size of slices: as configured, or as large as the cache takes an object.
func sliceBytesOf(configured, maxObject int64) int64 {
	if configured > maxObject {
		return maxObject / minSlice * minSlice
	}
	return configured
}

// slicesAsked reports whether a request is to be answered with slices.
func (x *exchange) slicesAsked() bool {
	return x.h.sliceBytes > 0 && (x.h.large.has(x.target.Key) || x.r.Method == http.MethodGet && x.slicesFirst())
}

// query returns what the cache is asked for on behalf of the request.
func (x *exchange) query(key string, now time.Time) cache.Query {
	q := cache.Query{Key: key, Now: now, Control: x.control, Probe: x.control.OnlyIfCached, Credentials: x.credentials()}
	if x.rule.Forward == ForwardRequest {
		q.Header = x.r.Header
	}
	return q
}

// slicesFirst reports whether a request is better answered by slices although nothing is known of the object:
// it wants a part, and the whole is not there.
func (x *exchange) slicesFirst() bool {
	if x.rule.Live || x.rule.Forward != ForwardObject || x.h.whole.has(x.target.Key) {
		return false
	}
	start, _, ok := rangeStart(x.r.Header.Get("Range"))
	if !ok || start < x.h.sliceBytes {
		return false // the beginning comes first anyway
	}
	l := x.h.cache.Get(cache.Query{Key: x.target.Key, Now: x.row.Time, Probe: true})
	if l.Object != nil {
		l.Object.Release()
	}
	return l.Object == nil
}

// rangeStart returns the first offset that a Range header asks for, and the last, -1 if there is none.
func rangeStart(header string) (start, last int64, ok bool) {
	rest, ok := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(rest, "-")
	if !ok || !dash || strings.Contains(to, ",") {
		return 0, 0, false
	}
	start, err := strconv.ParseInt(strings.TrimSpace(from), 10, 64)
	if err != nil || start < 0 {
		return 0, 0, false
	}
	last, err = strconv.ParseInt(strings.TrimSpace(to), 10, 64)
	if err != nil || last < start {
		last = -1
	}
	return start, last, true
}

// tooLarge reports whether the answer is of an object that is to be kept in slices.
func (h *Handler) tooLarge(f *flight, response *http.Response) bool {
	if h.sliceBytes == 0 || f.rule.Live || response.StatusCode != http.StatusOK || response.ContentLength <= h.maxObject ||
		h.whole.has(f.target.Key) {
		return false
	}
	if !validated(response.Header) || response.Header.Get("Accept-Ranges") != "bytes" {
		return false
	}
	h.large.add(f.target.Key)
	return true
}

// validated reports whether slices with this header tell of which state of the object they are (RFC 9110 §15.3.7.3).
func validated(header http.Header) bool {
	return isStrong(header.Get("Etag")) || header.Get("Last-Modified") != ""
}

// slice reports whether an answer is the slice that was asked for. If it is something else that an error does not
// tell of, such as 404, it is false.
func (h *Handler) slice(f *flight, response *http.Response) (bool, error) {
	switch response.StatusCode {
	case http.StatusOK:
		h.large.forget(f.target.Key)
		h.whole.add(f.target.Key)
		return false, errWhole
	case http.StatusPartialContent:
	default:
		return false, nil
	}
	first := f.slice * h.sliceBytes
	start, end, total, ok := parseContentRange(response.Header.Get("Content-Range"))
	if !ok || !validated(response.Header) || total < 0 || start != first || end != min(first+h.sliceBytes, total) ||
		response.ContentLength >= 0 && response.ContentLength != end-start {
		h.large.forget(f.target.Key)
		h.whole.add(f.target.Key)
		return false, errWhole
	}
	h.large.add(f.target.Key)
	return true, nil
}

// parseContentRange parses "bytes 0-99/1000" (RFC 9110 §14.4); end is after the last byte, total -1 for "*".
func parseContentRange(s string) (start, end, total int64, ok bool) {
	rest, found := strings.CutPrefix(s, "bytes ")
	span, size, slash := strings.Cut(rest, "/")
	from, to, dash := strings.Cut(span, "-")
	if !found || !slash || !dash {
		return 0, 0, 0, false
	}
	total = -1
	var err [3]error
	if size != "*" {
		total, err[0] = strconv.ParseInt(size, 10, 64)
	}
	start, err[1] = strconv.ParseInt(from, 10, 64)
	end, err[2] = strconv.ParseInt(to, 10, 64)
	end++
	ok = err[0] == nil && err[1] == nil && err[2] == nil && start >= 0 && start < end && (total < 0 || end <= total)
	return start, end, total, ok
}

// slices answers with the slices of a large object.
func (x *exchange) slices() {
	size := x.h.sliceBytes
	asked := x.r.Header.Get("Range")
	if x.r.Method != http.MethodGet {
		asked = "" // RFC 9110 §14.2
	}
	start, _, isRange := rangeStart(asked)
	number := int64(0)
	if isRange {
		number = start / size
	}
	o, err := x.fetchSlice(number)
	if o == nil {
		x.noSlice(err)
		return
	}
	defer func() { o.Release() }()
	if o.Status != http.StatusPartialContent {
		x.send(o)
		return
	}
	_, _, total, _ := parseContentRange(o.Header.Get("Content-Range"))
	header := x.w.Header()
	for name, values := range o.Header {
		header[name] = values
	}
	header["Age"] = []string{formatInt(int64(o.Age(x.h.now()) / time.Second))}
	header["Cache-Status"] = append(header["Cache-Status"], x.status.Encode(x.h.name))
	header["Accept-Ranges"] = acceptRanges
	delete(header, "Content-Range")
	if x.unchanged(o.ETag, o.LastModified) {
		x.notModified()
		return
	}
	part, status := message.Span{Start: 0, End: total}, http.StatusOK
	if asked != "" && message.RangeApplies(x.r.Header.Get("If-Range"), o.ETag, header.Get("Last-Modified")) {
		switch requested, result := message.ParseRange(asked, total); result {
		case message.OnePart:
			part, status = requested, http.StatusPartialContent
			header["Content-Range"] = []string{message.ContentRange(part, total)}
		case message.Unsatisfiable:
			x.unsatisfiable(total)
			return
		case message.WholeObject:
		}
	}
	if x.control.OnlyIfCached && !x.holds(part) {
		x.withdraw(o)
		x.notHeld()
		return
	}
	header["Content-Length"] = []string{formatInt(part.End - part.Start)}
	if x.r.Method == http.MethodHead {
		x.w.WriteHeader(status)
		return
	}
	for at := part.Start; at < part.End; {
		if want := at / size; want != number {
			next, err := x.fetchSlice(want)
			if next == nil || !sameObject(o, next) {
				x.tornSlices(o, next, err)
				return
			}
			o.Release()
			o, number = next, want
		}
		end := min(part.End, (number+1)*size)
		if ahead := number + 1; ahead*size < part.End {
			x.readAhead(ahead)
		}
		if !x.copy(o, message.Span{Start: at - number*size, End: end - number*size}, status) {
			return
		}
		at = end
	}
}

// sameObject reports whether two slices are of the same state of an object. The length tells apart what was changed
// twice within a second, of which the date is the same.
func sameObject(a, b *cache.Object) bool {
	return a.Status == b.Status && a.ETag == b.ETag && a.LastModified.Equal(b.LastModified) && totalOf(a) == totalOf(b)
}

// totalOf returns the length of the object that a slice is of, -1 if it is no slice.
func totalOf(slice *cache.Object) int64 {
	if _, _, total, ok := parseContentRange(slice.Header.Get("Content-Range")); ok {
		return total
	}
	return -1
}

// holds reports whether all slices of a part are held, and may be served without asking the origin.
func (x *exchange) holds(part message.Span) bool {
	size := x.h.sliceBytes
	for number := part.Start / size; number*size < part.End; number++ {
		l := x.h.cache.Get(x.query(cache.SliceKey(x.target.Key, number), x.h.now()))
		if l.Object == nil {
			return false
		}
		l.Object.Release()
	}
	return true
}

// fetchSlice returns a slice, from the cache or from the origin. The caller releases it.
func (x *exchange) fetchSlice(number int64) (*cache.Object, error) {
	for range maxAgain {
		o, err := x.trySlice(number)
		if errors.Is(err, cache.ErrLost) && o == nil {
			continue
		}
		if o == nil || x.rule.Forward != ForwardRequest || o.Matches(x.r.Header) {
			return o, err
		}
		// Of another variant, as it turned out when it came: now it is known what they are told apart by.
		o.Release()
	}
	return nil, errWhole
}

func (x *exchange) trySlice(number int64) (*cache.Object, error) {
	l := x.h.cache.Get(x.query(cache.SliceKey(x.target.Key, number), x.h.now()))
	if l.Object != nil {
		if l.Leader {
			close(x.leadSlice(l.Fill, number).gone)
		}
		if x.row.CacheStatus == string(cdn.Bypass) {
			x.row.CacheStatus = string(cdn.Hit)
			x.status.HasTTL, x.status.TTL = true, l.Object.TTL(x.h.now())
		}
		return l.Object, nil
	}
	if l.Pass {
		return nil, errWhole
	}
	if l.Fill == nil {
		return nil, errNotHeld
	}
	reason := l.Reason
	if reason == cdn.Cold && x.h.large.has(x.target.Key) {
		reason = cdn.Ranged
	}
	if x.row.CacheStatus == string(cdn.Bypass) || x.row.CacheStatus == string(cdn.Hit) {
		x.row.CacheStatus, x.row.MissReason = string(cdn.Collapsed), string(reason)
		x.status.Collapsed = true
		x.status.Forward = message.ForwardOf(reason)
	}
	var f *flight
	if l.Leader {
		x.row.CacheStatus, x.row.MissReason = string(cdn.Miss), string(reason)
		x.status.Collapsed = false
		f = x.leadSlice(l.Fill, number)
		defer close(f.gone)
	}
	since := x.h.now()
	told := f
	if x.w.status != 0 {
		x.w.flush()
		told = nil // it is too late for interim answers
	}
	out, err := x.outcome(l.Fill, told)
	if !l.Leader {
		x.row.CollapsedWait += x.h.now().Sub(since)
	}
	if err != nil {
		return nil, err
	}
	if x.fetch == nil {
		x.fetch = out.Fetch
	}
	if out.Fetch != nil {
		x.status.ForwardStatus = out.Fetch.Status
	}
	if out.Pass {
		return nil, errWhole
	}
	if out.Stale {
		x.row.CacheStatus = string(cdn.Stale)
		x.status.Detail = "stale-if-error"
		return out.Object, nil
	}
	return out.Object, out.Err
}

func (x *exchange) leadSlice(fill *cache.Fill, number int64) *flight {
	f := newFlight(fill, x.rule, x.target, number)
	x.h.start(f, x)
	return f
}

// readAhead starts the fetch of a slice that will be wanted soon.
func (x *exchange) readAhead(number int64) {
	if x.control.OnlyIfCached || x.control.NoCache {
		return
	}
	q := x.query(cache.SliceKey(x.target.Key, number), x.h.now())
	q.Ahead = true
	l := x.h.cache.Get(q)
	if l.Leader {
		close(x.leadSlice(l.Fill, number).gone)
	}
	if l.Object != nil {
		l.Object.Release()
	}
}

// noSlice answers when the first slice cannot be had.
func (x *exchange) noSlice(err error) {
	switch {
	case x.r.Context().Err() != nil:
		x.row.Aborted = true
	case errors.Is(err, errNotHeld):
		x.notHeld()
	case x.h.whole.has(x.target.Key) && !x.h.large.has(x.target.Key):
		x.status = message.CacheStatus{}
		x.lookUp()
	case errors.Is(err, errWhole):
		x.pass() // it may not be kept, or there is no room for it
	default:
		x.fail(err)
	}
}

// tornSlices ends an answer of which the next slice cannot be had, or is of another state of the object.
func (x *exchange) tornSlices(o, next *cache.Object, err error) {
	if next != nil {
		old, latest := o, next
		if old.Received.After(latest.Received) {
			old, latest = latest, old
		}
		x.h.cache.Supersede(x.target.Key, old, latest)
		next.Release()
		err = fmt.Errorf("%w: the object has changed between two slices", errOrigin)
	}
	x.brokenOff(o, err)
}

// keySet remembers something of a bounded number of keys, of each a hash: what viewers ask for is long. When it is full
// it forgets half of them.
type keySet struct {
	seed maphash.Seed
	most int

	mu   sync.RWMutex
	sums map[uint64]struct{}
}

func newKeySet(most int) *keySet {
	return &keySet{seed: maphash.MakeSeed(), most: most, sums: make(map[uint64]struct{})}
}

func (s *keySet) has(key string) bool {
	sum := maphash.String(s.seed, key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.sums[sum]
	return ok
}

func (s *keySet) add(key string) {
	sum := maphash.String(s.seed, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sums) >= s.most {
		for other := range s.sums {
			delete(s.sums, other)
			if len(s.sums) <= s.most/2 {
				break
			}
		}
	}
	s.sums[sum] = struct{}{}
}

func (s *keySet) forget(key string) {
	sum := maphash.String(s.seed, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sums, sum)
}
