package h2

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

// begin answers a request, or has it answered.
func (c *conn) begin(s *stream, f *http2.MetaHeadersFrame) error {
	if f.Truncated || size(f) > c.server.config.HeaderBytes {
		c.refuse(s, f, http.StatusRequestHeaderFieldsTooLarge)
		return nil
	}
	defer func() {
		if cap(c.head) > keptRoom {
			c.head = nil
		}
	}()
	now := time.Now()
	hits := c.server.hitter != nil && s.ended && c.rewrite(f)
	if hits {
		c.request.Received, c.request.LastTCP = now, c.lastTCP()
		c.answer = h1.Answer{Extra: c.extra[:0]}
		ok := c.server.hitter.Hit(&c.request, &c.answer)
		if ok {
			c.server.metrics.hits.Inc()
			c.respond(s, now)
		}
		c.extra = c.answer.Extra[:0]
		c.answer = h1.Answer{}
		if ok {
			return nil
		}
	}
	r, status := c.newRequest(s, f)
	switch status {
	case http.StatusOK:
	case 0:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol, Cause: errMalformed}
	default:
		c.refuse(s, f, status)
		return nil
	}
	ctx, cancel := context.WithCancel(c.context())
	if hits && c.request.Carry != nil {
		ctx = h1.WithCarry(ctx, c.request.Carry)
	}
	w := &response{s: s, r: r.WithContext(ctx), header: make(http.Header), length: -1}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.failure != nil { // the connection has ended meanwhile
		cancel()
	} else {
		s.cancel, s.wrote = cancel, make(chan struct{}, 1)
		c.running++
		c.server.metrics.handled.Inc()
		go w.run()
	}
	return nil
}

// lastTCP returns what the kernel has said last of the connection.
func (c *conn) lastTCP() *h1.TCPInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.probe.Last()
	if last == nil {
		return nil
	}
	c.known = *last
	return &c.known
}

// context returns what the contexts of requests come from.
func (c *conn) context() context.Context {
	if c.base == nil {
		c.base = context.WithValue(c.server.base, http.LocalAddrContextKey, c.nc.LocalAddr())
	}
	return c.base
}

// rewrite writes the request as one of HTTP/1.1 and reads that, if it is one that may hit.
func (c *conn) rewrite(f *http2.MetaHeadersFrame) bool {
	method, path, authority := f.PseudoValue("method"), f.PseudoValue("path"), f.PseudoValue("authority")
	if method != http.MethodGet && method != http.MethodHead || authority == "" || path == "" || !isScheme(f.PseudoValue("scheme")) {
		return false
	}
	b := append(append(append(append(append(c.head[:0], method...), ' '), path...), " HTTP/1.1\r\nHost: "...), authority...)
	b = append(b, "\r\n"...)
	cookies := false
	for _, field := range f.RegularFields() {
		switch field.Name {
		case "host", "te", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length", "expect":
			c.head = b
			return false
		case "cookie":
			cookies = true
			continue
		}
		b = append(append(append(append(b, field.Name...), ": "...), field.Value...), "\r\n"...)
	}
	if cookies {
		b = append(appendCookies(append(b, "cookie: "...), f.RegularFields()), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	c.head = b
	c.request.Remote, c.request.TLS = c.remote, c.state != nil
	return c.request.Rewritten(b)
}

func isScheme(s string) bool { return s == "https" || s == "http" }

// size is that of the fields as RFC 9113 §6.5.2 counts them.
func size(f *http2.MetaHeadersFrame) (n int) {
	for _, field := range f.Fields {
		n += int(field.Size())
	}
	return n
}

// appendCookies joins what a client may have split (RFC 9113 §8.2.3).
func appendCookies(b []byte, fields []hpack.HeaderField) []byte {
	separator := ""
	for _, field := range fields {
		if field.Name == "cookie" {
			b = append(append(b, separator...), field.Value...)
			separator = "; "
		}
	}
	return b
}

// newRequest makes what net/http would make of the same request. The status is that of a refusal, 0 that of a malformed one.
func (c *conn) newRequest(s *stream, f *http2.MetaHeadersFrame) (*http.Request, int) {
	method, path := f.PseudoValue("method"), f.PseudoValue("path")
	authority, scheme := f.PseudoValue("authority"), f.PseudoValue("scheme")
	connect := method == http.MethodConnect
	switch {
	case method == "", connect && (path != "" || scheme != "" || authority == ""): // RFC 9113 §8.5
		return nil, 0
	case !connect && (path == "" || !isScheme(scheme)): // RFC 9113 §8.3.1
		return nil, 0
	case !httpguts.ValidHeaderFieldName(method):
		return nil, 0
	}
	r := &http.Request{
		Method: method, Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header), Host: authority, RequestURI: path,
		RemoteAddr: c.from, TLS: c.state, Body: http.NoBody,
	}
	length, announced := int64(-1), false
	for _, field := range f.RegularFields() {
		switch field.Name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade": // RFC 9113 §8.2.2
			return nil, 0
		case "te":
			if field.Value != "trailers" {
				return nil, 0
			}
		case "host":
			if r.Host == "" {
				r.Host = field.Value
			} else if r.Host != field.Value {
				return nil, 0 // two could be told two things
			}
			continue
		case "cookie":
			if before := r.Header["Cookie"]; len(before) > 0 {
				before[0] += "; " + field.Value
				continue
			}
		case "content-length":
			n, err := strconv.ParseUint(field.Value, 10, 63)
			if err != nil || announced && int64(n) != length || s.ended && n != 0 {
				return nil, 0
			}
			length, announced = int64(n), true
		case "expect":
			if !strings.EqualFold(field.Value, "100-continue") {
				return nil, http.StatusExpectationFailed
			}
		}
		key := textproto.CanonicalMIMEHeaderKey(field.Name)
		r.Header[key] = append(r.Header[key], field.Value)
	}
	switch {
	case !httpguts.ValidHostHeader(r.Host) || r.Host == "" && scheme != "":
		return nil, http.StatusBadRequest
	case connect:
		r.URL, r.RequestURI = &url.URL{Host: authority}, authority
	case path == "*" && method == http.MethodOptions:
		r.URL = &url.URL{Path: "*"}
	case path[0] != '/':
		return nil, http.StatusBadRequest
	default:
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return nil, http.StatusBadRequest
		}
		r.URL = u
	}
	expect := r.Header.Get("Expect") != ""
	r.Header.Del("Expect") // it is this server's to answer
	if s.ended {
		return r, http.StatusOK
	}
	b := &body{s: s, length: length, given: streamWindow, expect: expect, news: make(chan struct{}, 1)}
	r.Body, r.ContentLength = b, length
	c.mu.Lock()
	s.body = b
	c.mu.Unlock()
	return r, http.StatusOK
}

// refuse answers with an error of this server's own.
func (c *conn) refuse(s *stream, f *http2.MetaHeadersFrame, status int) {
	c.server.metrics.refused.Inc()
	message := strconv.Itoa(status) + " " + http.StatusText(status) + "\n"
	c.block = appendStatus(c.block[:0], status)
	c.block = appendField(c.block, "content-type", "text/plain; charset=utf-8")
	c.block = appendField(c.block, "content-length", strconv.Itoa(len(message)))
	c.block = append(c.block, c.server.date(time.Now())...)
	if f.PseudoValue("method") == http.MethodHead {
		message = ""
	}
	c.give(s, []byte(message), h1.Answer{})
}

// give has the block and a body written, of an answer that is told when that is done.
func (c *conn) give(s *stream, body []byte, a h1.Answer) {
	c.mu.Lock()
	s.done, s.mapped = a.Done, a.FD != 0
	r := report{}
	switch {
	case s.failure != nil:
		r, s.done = report{s, s.done, h1.Result{Err: s.failure, Last: time.Now()}}, nil
	case len(body) > 0:
		c.control = appendHeaders(c.control, s.id, c.blockOf(c.block), false, c.frame)
		s.rest, s.last = body, true
		c.enqueue(s)
	default:
		c.control = appendHeaders(c.control, s.id, c.blockOf(c.block), true, c.frame)
		r = c.gone(s)
	}
	c.mu.Unlock()
	r.tell()
}

// respond writes the answer of the Hitter.
func (c *conn) respond(s *stream, now time.Time) {
	a := &c.answer
	b := appendStatus(c.block[:0], statusOf(a.Head))
	lines := a.Head
	for i, char := range lines {
		if char == '\n' {
			lines = lines[i+1:]
			break
		}
	}
	b = appendLines(appendLines(b, lines), a.Extra)
	if !a.Dated {
		b = append(b, c.server.date(now)...)
	}
	if c.state != nil {
		b = append(b, c.server.secure().block...)
	}
	c.block = b
	body := a.Body
	if a.NoBody || c.request.Head {
		body = nil
	}
	c.give(s, body, *a)
}

// statusOf returns the status of a status line.
func statusOf(head []byte) int {
	const at = len("HTTP/1.1 ")
	n := 0
	for _, digit := range head[at : at+3] {
		n = 10*n + int(digit-'0')
	}
	return n
}
