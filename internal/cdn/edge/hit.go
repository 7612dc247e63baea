package edge

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
	"github.com/weir-stream/weir/internal/telemetry"
)

// hit is an answer from the cache to a request of the edge's own HTTP/1.1 loop, and the row of it.
type hit struct {
	h       *Handler
	object  *cache.Object
	rule    *Rule
	grant   access.Grant
	row     telemetry.Request
	texts   string // a copy of the request's head, from which the row's strings are cut
	copied  bool   // texts is of this request
	key     []byte
	scratch []byte // the key of an encoding
	host    int    // how much of key is the host
	done    func(h1.Result)

	// What the access chain is told, to be used again.
	request access.Request
	header  http.Header
	values  []string
}

var _ h1.Hitter = (*Handler)(nil)

// newHits returns a pool of hits. Each has its function made once, as the hit path makes nothing.
func newHits(h *Handler) *sync.Pool {
	return &sync.Pool{New: func() any {
		x := &hit{h: h}
		x.done = x.finish
		return x
	}}
}

// Hit implements [h1.Hitter]: it answers what is fresh in the cache and the same for everybody. Everything else
// goes the long way, which answers in the same words.
func (h *Handler) Hit(r *h1.Request, a *h1.Answer) bool {
	x := h.hits.Get().(*hit)
	x.copied = false
	if x.answer(r, a) {
		return true
	}
	h.hits.Put(x)
	return false
}

func (x *hit) answer(r *h1.Request, a *h1.Answer) bool {
	h := x.h
	path := text(r.Path)
	t := h.table.Load()
	rule := t.rules.of(path)
	if r.XForwardedFor != nil && len(t.cfg.TrustedProxies) > 0 {
		return false
	}
	query := cmcd.StripQuery(text(r.Query))
	if !message.PlainQuery(query) {
		return false
	}
	var grant access.Decision
	if h.access != nil && h.access.Needs(path) {
		if grant = h.access.Check(x.asked(r)); !grant.Allow || len(grant.SetHeader) > 0 {
			r.Carry = grant
			return false
		}
		if grant.Path != "" {
			path, rule = grant.Path, t.rules.of(grant.Path)
		}
		if len(grant.StripQuery) > 0 && query != "" {
			query = message.StripArguments(query, grant.StripQuery)
		}
	}
	told := rule.ObeyRequests && (r.CacheControl != nil || r.Pragma != nil)
	if rule.Bypass || told || !message.Plain(path) || !x.find(r, a, rule, grant, path, query) {
		if grant.Allow {
			r.Carry = grant // it counts, so it is not asked twice
		}
		return false
	}
	return true
}

// find answers with what is under the key of path and query, if that can be done at once.
func (x *hit) find(r *h1.Request, a *h1.Answer, rule *Rule, grant access.Decision, path, query string) bool {
	if x.key = x.key[:0]; rule.Host == HostViewer {
		var ok bool
		if x.key, ok = message.AppendHost(x.key, text(r.Host), r.TLS); !ok {
			return false
		}
	}
	x.host = len(x.key)
	x.key = append(x.key, path...)
	if query != "" {
		x.key = append(append(x.key, '?'), query...)
	}
	now := r.Received
	o := x.h.cache.Hit(x.key, now)
	if o != nil && rule.Compress {
		o = x.encoded(r, o, now)
	}
	if o == nil {
		return false
	}
	part, status, ok := x.part(r, o)
	if !ok || !x.head(r, a, o, part, status, now) {
		o.Release()
		return false
	}
	x.object = o
	x.record(r, path, grant, query, status, now)
	x.rule, x.grant = rule, grant.Grant
	a.Pace = pace(rule, &x.row)
	if rule.CMSD {
		a.Extra = append(x.h.appendHop(append(a.Extra, dynamicField+": "...), r.LastTCP, 0), "\r\n"...)
	}
	a.Done = x.done
	return true
}

// text returns b as a string that is valid as long as b is.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// own returns b, a part of the request, as a string that may be kept. All of them are cut from one copy of the head.
func (x *hit) own(r *h1.Request, b []byte) string {
	raw := r.Raw()
	if !x.copied {
		x.texts, x.copied = string(raw), true
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(raw)))
	if len(b) == 0 || len(b) > len(raw) || start > uintptr(len(raw)-len(b)) {
		return string(b) // nothing, or not of the head
	}
	return x.texts[start:][:len(b)]
}

// asked is what the access chain is told.
func (x *hit) asked(r *h1.Request) *access.Request {
	if x.header == nil {
		x.header = make(http.Header, 16)
	}
	clear(x.header)
	x.values = x.values[:0]
	for name, value := range r.Fields() {
		key := http.CanonicalHeaderKey(x.own(r, name))
		if before, ok := x.header[key]; ok {
			x.header[key] = append(slices.Clip(before), x.own(r, value))
			continue
		}
		x.values = append(x.values, x.own(r, value))
		x.header[key] = x.values[len(x.values)-1 : len(x.values) : len(x.values)]
	}
	x.request = access.Request{
		Method: http.MethodGet, Host: x.own(r, r.Host), Path: x.own(r, r.Path), RawQuery: x.own(r, r.Query), Header: x.header,
		Client: r.Remote.Addr().Unmap().WithZone(""), TLS: r.TLS, Now: r.Received,
	}
	if r.Head {
		x.request.Method = http.MethodHead
	}
	return &x.request
}

// part returns which bytes of the object are wanted, and with which status.
func (x *hit) part(r *h1.Request, o *cache.Object) (message.Span, int, bool) {
	whole := message.Span{Start: 0, End: o.Length()}
	if o.Status != http.StatusOK {
		return whole, o.Status, o.Status != http.StatusPartialContent && whole.End > 0
	}
	if r.IfNoneMatch != nil || r.IfModifiedSince != nil {
		var tags []string
		if r.IfNoneMatch != nil {
			tags = []string{text(r.IfNoneMatch)}
		}
		if message.NotModified(tags, text(r.IfModifiedSince), o.ETag, o.LastModified) {
			return message.Span{}, http.StatusNotModified, true
		}
	}
	if r.Range != nil && !r.Head && message.RangeApplies(text(r.IfRange), o.ETag, o.Header.Get("Last-Modified")) {
		switch part, result := message.ParseRange(text(r.Range), whole.End); result {
		case message.OnePart:
			return part, http.StatusPartialContent, true
		case message.Unsatisfiable:
			return whole, 0, false
		case message.WholeObject:
		}
	}
	return whole, http.StatusOK, true
}

// head fills in the answer.
func (x *hit) head(r *h1.Request, a *h1.Answer, o *cache.Object, part message.Span, status int, now time.Time) bool {
	switch status {
	case http.StatusNotModified:
		a.Head, a.NoBody = rendered(o, 2, renderNotModified), true
	case http.StatusPartialContent:
		a.Head = rendered(o, 1, renderPart)
		a.Extra = strconv.AppendInt(append(a.Extra, "Content-Length: "...), part.End-part.Start, 10)
		a.Extra = append(append(append(a.Extra, "\r\nContent-Range: "...), message.ContentRange(part, o.Length())...), "\r\n"...)
	default:
		a.Head = rendered(o, 0, render)
	}
	a.Dated = o.Header["Date"] != nil
	a.Extra = append(a.Extra, "Age: "...)
	a.Extra = strconv.AppendInt(a.Extra, int64(o.Age(now)/time.Second), 10)
	a.Extra = append(a.Extra, "\r\nCache-Status: "...)
	for _, value := range o.Header["Cache-Status"] {
		a.Extra = append(append(a.Extra, value...), ", "...)
	}
	a.Extra = message.CacheStatus{HasTTL: true, TTL: o.TTL(now)}.Append(a.Extra, x.h.name)
	a.Extra = append(a.Extra, "\r\n"...)
	if a.NoBody || r.Head || part.Start == part.End {
		return true
	}
	whole := o.Whole()
	if whole == nil {
		return false
	}
	a.Body = whole[part.Start:part.End]
	if fd, offset, ok := o.File(); ok {
		a.FD, a.Offset, a.Length = fd, offset+part.Start, part.End-part.Start
	}
	return true
}

// record notes what the row needs of the request, which will be gone when the answer has been sent.
func (x *hit) record(r *h1.Request, path string, grant access.Decision, query string, status int, now time.Time) {
	row := &x.row
	*row = telemetry.Request{} // and then one by one, as a literal would be made on the stack and copied
	row.Time, row.Client, row.ClientPort, row.Proto = now, r.Remote.Addr().Unmap().WithZone(""), r.Remote.Port(), "HTTP/1.1"
	row.Status, row.CacheStatus, row.Tenant = status, string(cdn.Hit), grant.Grant.Tenant
	if status != http.StatusNotModified {
		row.ContentType = x.object.Header.Get("Content-Type")
	}
	switch {
	case r.HTTP2:
		row.Proto = "HTTP/2.0"
	case r.HTTP10:
		row.Proto = "HTTP/1.0"
	}
	row.Method = http.MethodGet
	if r.Head {
		row.Method = http.MethodHead
	}
	if row.Path = path; unsafe.StringData(path) == unsafe.SliceData(r.Path) { // else it is the access chain's
		row.Path = x.own(r, r.Path)
	}
	row.Host, row.UserAgent, row.Referer, row.Range = x.own(r, r.Host), x.own(r, clip(r.UserAgent)), x.own(r, clip(r.Referer)), x.own(r, clip(r.Range))
	whole := x.own(r, r.Query)
	switch {
	case len(query) == len(whole):
		row.Query = whole
	case query != "":
		row.Query = x.own(r, unsafe.Slice(unsafe.StringData(query), len(query))) // without CMCD and credentials
	}
	var header http.Header
	for i, name := range cmcdFields {
		if r.CMCD[i] != nil {
			if header == nil {
				header = make(http.Header, 4)
			}
			header[name] = []string{x.own(r, r.CMCD[i])}
		}
	}
	if header != nil || bytes.Contains(r.Query, []byte("CMCD")) || bytes.IndexByte(r.Query, '%') >= 0 {
		readCMCD(row, whole, header)
	}
}

var cmcdFields = [4]string{"Cmcd-Object", "Cmcd-Request", "Cmcd-Session", "Cmcd-Status"}

func clip(b []byte) []byte { return b[:min(len(b), telemetry.MaxText)] }

// finish completes the row when the answer has been sent.
func (x *hit) finish(result h1.Result) {
	row := &x.row
	row.Bytes = result.Bytes
	row.Duration = result.Last.Sub(row.Time)
	row.TTFB = result.FirstByte.Sub(row.Time)
	row.Aborted = result.Err != nil
	if t := result.TCP; t != nil {
		row.TCP = tcpOf(t)
	}
	if x.rule.Prefetch {
		x.h.prefetch.announced(x.rule, message.Target{Key: text(x.key), Host: text(x.key[:x.host]), Path: row.Path, Query: row.Query}, x.grant, row)
	}
	x.h.report(row)
	x.object.Release()
	x.object = nil
	x.h.hits.Put(x)
}

func tcpOf(t *h1.TCPInfo) telemetry.TCP {
	return telemetry.TCP{
		RTT: t.RTT, MinRTT: t.MinRTT, Sent: t.BytesSent, Retransmitted: t.BytesRetrans, Unsent: t.NotSent,
		DeliveryRate: 8 * t.DeliveryRate, AppLimited: t.AppLimited,
		Busy: t.Busy, RwndLimited: t.RwndLimited, SndbufLimited: t.SndbufLimited,
	}
}

// rendered returns what make renders of an object, from its place if that has been done before.
func rendered(o *cache.Object, place int, render func(*cache.Object) []byte) []byte {
	if head := o.Rendered[place].Load(); head != nil {
		return *head
	}
	head := render(o)
	o.Rendered[place].Store(&head)
	return head
}

// render returns the head of a whole object: the status line and the fields that do not change.
func render(o *cache.Object) []byte {
	b := fields(statusLine(make([]byte, 0, 512), o.Status), o)
	b = strconv.AppendInt(append(b, "Content-Length: "...), o.Length(), 10)
	return append(b, "\r\n"...)
}

// renderPart returns the head of a part of an object, without what differs from part to part.
func renderPart(o *cache.Object) []byte {
	return fields(statusLine(make([]byte, 0, 512), http.StatusPartialContent), o)
}

func fields(b []byte, o *cache.Object) []byte {
	for name, values := range o.Header {
		if name == "Cache-Status" || name == "Accept-Ranges" && o.Status == http.StatusOK {
			continue
		}
		for _, value := range values {
			b = field(b, name, value)
		}
	}
	if o.Status == http.StatusOK {
		b = field(b, "Accept-Ranges", acceptsRanges(o)[0])
	}
	return b
}

func renderNotModified(o *cache.Object) []byte {
	b := statusLine(make([]byte, 0, 512), http.StatusNotModified)
	for name, values := range o.Header {
		switch {
		case name == "Cache-Status", name == "Content-Type", name == "Content-Encoding", name == "Accept-Ranges":
			continue
		case name == "Last-Modified" && o.ETag != "":
			continue // the ETag says more (RFC 9110 §15.4.5)
		}
		for _, value := range values {
			b = field(b, name, value)
		}
	}
	return b
}

func statusLine(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	return append(b, "\r\n"...)
}

func field(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
