package h1

import (
	"bytes"
	"encoding/binary"
	"net/http"
)

// verdict is what becomes of a head.
type verdict uint8

const (
	more     verdict = iota // its end is not there yet
	serve                   // for this loop
	handOver                // for net/http
	refuse                  // for nobody
)

// parse reads the head at the beginning of b, of at most limit bytes. The status is that of a refusal. What is
// malformed is found as soon as its line has ended.
func (r *Request) parse(b []byte, limit int) (verdict, int) {
	*r = Request{Remote: r.Remote, TLS: r.TLS}
	head := b[:min(len(b), limit)]
	line, rest, ok := cutLine(head)
	status := 0
	if line != nil {
		status = r.requestLine(line)
	}
	fields := rest
	for line != nil && ok && status == 0 {
		if line, rest, ok = cutLine(rest); line == nil {
			break
		}
		switch {
		case len(line) == 0:
			r.head = head[:len(head)-len(rest)]
			r.fields = fields[:len(fields)-len(rest)-2]
			return r.judge()
		case line[0] == ' ' || line[0] == '\t':
			// obs-fold (RFC 9112 §5.2); nothing can be folded into the request line (§2.2).
			r.odd = true
			ok = clean(line) && &line[0] != &fields[0]
		default:
			ok = r.field(line)
		}
	}
	switch {
	case status != 0:
		return refuse, status
	case !ok:
		return refuse, http.StatusBadRequest
	case len(b) >= limit:
		return refuse, http.StatusRequestHeaderFieldsTooLarge
	}
	return more, 0
}

// cutLine returns the first line of b without its CRLF, nil if it has not ended. An LF does not stand alone (RFC 9112
// §2.2), nor does a CR, which is found with the other control characters.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return nil, b, true
	}
	if end == 0 || b[end-1] != '\r' {
		return nil, b, false
	}
	return b[:end-1], b[end+1:], true
}

// requestLine reads the request line (RFC 9112 §3) and returns 0, or the status of a refusal.
func (r *Request) requestLine(line []byte) int {
	method, rest, _ := bytes.Cut(line, space)
	target, version, found := bytes.Cut(rest, space)
	if !found || len(method) == 0 || len(target) == 0 || !only(method, &token) {
		return http.StatusBadRequest
	}
	r.Method, r.Target = method, target
	switch {
	case string(version) == "HTTP/1.1":
	case len(version) != 8 || string(version[:5]) != "HTTP/" || version[6] != '.' || !digits[version[5]] || !digits[version[7]]:
		return http.StatusBadRequest
	case version[5] != '1':
		return http.StatusHTTPVersionNotSupported
	default:
		r.HTTP10, r.Close = version[7] == '0', version[7] == '0'
		r.odd = !r.HTTP10
	}
	r.Head = string(method) == http.MethodHead
	r.odd = r.odd || !r.Head && string(method) != http.MethodGet
	return r.target()
}

// target reads the request target (RFC 9112 §3.2).
func (r *Request) target() int {
	t := r.Target
	if !without(t, '!', true) {
		if !without(t, '!', false) {
			return http.StatusBadRequest
		}
		r.odd = true // not ASCII
	}
	scheme := max(bytes.IndexByte(t, ':'), 0)
	switch {
	case t[0] == '/':
	case string(r.Method) == http.MethodConnect, string(t) == "*" && string(r.Method) == http.MethodOptions,
		scheme > 0 && only(t[:scheme], &schemeByte):
		r.odd = true
		return 0
	default:
		return http.StatusBadRequest
	}
	r.Path = t
	if q := bytes.IndexByte(t, '?'); q >= 0 {
		r.Path, r.Query = t[:q], t[q+1:]
	}
	r.odd = r.odd || bytes.IndexByte(t, '#') >= 0 // a fragment is never sent (RFC 9112 §3.2.1)
	for p := r.Path; ; p = p[3:] {
		i := bytes.IndexByte(p, '%')
		if i < 0 {
			return 0
		}
		if p = p[i:]; len(p) < 3 || !only(p[1:3], &hexDigits) {
			return http.StatusBadRequest
		}
	}
}

// field reads a field line (RFC 9112 §5) and reports whether it is one.
func (r *Request) field(line []byte) bool {
	end := 0
	for end < len(line) && token[line[end]] {
		end++
	}
	// No whitespace before the colon (RFC 9112 §5.1).
	if end == 0 || end == len(line) || line[end] != ':' || !clean(line[end+1:]) {
		return false
	}
	name, value := line[:end], trim(line[end+1:])
	ok := true
	switch len(name) {
	case 4:
		ok = r.takeOnce(&r.Host, "host", name, value) // RFC 9112 §3.2
	case 5:
		r.take(&r.Range, "range", name, value)
	case 6:
		r.take(&r.Accept, "accept", name, value)
		r.take(&r.Origin, "origin", name, value)
		r.take(&r.Cookie, "cookie", name, value)
		r.take(&r.Pragma, "pragma", name, value)
		r.odd = r.odd || equalFold(name, "expect")
	case 7:
		r.take(&r.Referer, "referer", name, value)
		r.odd = r.odd || equalFold(name, "upgrade")
	case 8:
		r.take(&r.IfRange, "if-range", name, value)
	case 10:
		r.take(&r.UserAgent, "user-agent", name, value)
		r.Close = r.Close || equalFold(name, "connection") && hasMember(value, "close")
	case 11:
		r.take(&r.CMCD[0], "cmcd-object", name, value)
		r.take(&r.CMCD[3], "cmcd-status", name, value)
	case 12:
		r.take(&r.CMCD[1], "cmcd-request", name, value)
		r.take(&r.CMCD[2], "cmcd-session", name, value)
	case 13:
		r.take(&r.IfNoneMatch, "if-none-match", name, value)
		r.take(&r.CacheControl, "cache-control", name, value)
		r.take(&r.Authorization, "authorization", name, value)
	case 14:
		ok = r.takeOnce(&r.length, "content-length", name, value) // RFC 9112 §6.3
	case 15:
		r.take(&r.AcceptEncoding, "accept-encoding", name, value)
		r.take(&r.XForwardedFor, "x-forwarded-for", name, value)
	case 17:
		r.take(&r.IfModifiedSince, "if-modified-since", name, value)
		ok = r.takeOnce(&r.coding, "transfer-encoding", name, value)
	}
	return ok
}

// take keeps the value if the field has this name.
func (r *Request) take(field *[]byte, want string, name, value []byte) {
	if equalFold(name, want) {
		r.repeated = r.repeated || *field != nil
		*field = value
	}
}

// takeOnce is take for what must not come twice, and reports whether it has not.
func (r *Request) takeOnce(field *[]byte, want string, name, value []byte) bool {
	before := *field
	r.take(field, want, name, value)
	return before == nil || !equalFold(name, want)
}

// judge weighs a whole head.
func (r *Request) judge() (verdict, int) {
	switch {
	case r.Host == nil && !r.HTTP10, !only(r.Host, &hostByte): // RFC 9112 §3.2
		return refuse, http.StatusBadRequest
	case r.length != nil && (len(r.length) == 0 || len(r.length) > 18 || !only(r.length, &digits)):
		return refuse, http.StatusBadRequest
	case r.coding != nil:
		return r.judgeCoding()
	case r.odd, len(bytes.TrimLeft(r.length, "0")) > 0:
		return handOver, 0
	}
	return serve, 0
}

// judgeCoding weighs a head with Transfer-Encoding. Together with Content-Length, or in a version that has no
// codings, it is an attack or a mistake that others may read otherwise (RFC 9112 §6.1). If chunked is not the last
// coding the body has no end (§6.3), and what is before it nobody here undoes.
func (r *Request) judgeCoding() (verdict, int) {
	comma := bytes.LastIndexByte(r.coding, ',')
	switch {
	case r.length != nil, r.HTTP10, !equalFold(trim(r.coding[comma+1:]), "chunked"):
		return refuse, http.StatusBadRequest
	case comma >= 0:
		return refuse, http.StatusNotImplemented
	}
	return handOver, 0
}

// clean reports whether a field value has no control character but tabs.
func clean(v []byte) bool {
	return without(v, ' ', false) || without(bytes.ReplaceAll(v, tab, space), ' ', false)
}

// without reports whether v has no byte below least, no DEL and, if ASCII is wanted, nothing beyond it. It looks at
// eight bytes at a time.
func without(v []byte, least byte, ascii bool) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for low := ones * uint64(least); len(v) >= 8; v = v[8:] {
		x := binary.LittleEndian.Uint64(v)
		del := x ^ ones*0x7f
		found := (x-low)&^x | (del-ones)&^del
		if ascii {
			found |= x
		}
		if found&highs != 0 {
			return false
		}
	}
	for _, c := range v {
		if c < least || c == 0x7f || ascii && c > 0x7f {
			return false
		}
	}
	return true
}

// only reports whether all of v is in the set.
func only(v []byte, set *[256]bool) bool {
	for _, c := range v {
		if !set[c] {
			return false
		}
	}
	return true
}

// trim removes optional whitespace (RFC 9110 §5.6.3).
func trim(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return v
}

// equalFold reports whether b is s, which is in lower case, in any case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// hasMember reports whether the list (RFC 9110 §5.6.1) has the member, which is in lower case.
func hasMember(list []byte, member string) bool {
	for m := range bytes.SplitSeq(list, comma) {
		if equalFold(trim(m), member) {
			return true
		}
	}
	return false
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// The characters of numbers, schemes (RFC 3986 §3.1), names (RFC 9110 §5.6.2), and hosts with ports and IP literals
// (RFC 3986 §3.2.2).
var (
	digits     = characters("0123456789")
	hexDigits  = characters("0123456789abcdefABCDEF")
	schemeByte = characters(letters + "+-.")
	token      = characters(letters + "!#$%&'*+-.^_`|~")
	hostByte   = characters(letters + "-._~!$&'()*+,;=%:[]")

	space, tab, comma = []byte(" "), []byte("\t"), []byte(",")
)

func characters(of string) (set [256]bool) {
	for _, c := range []byte(of) {
		set[c] = true
	}
	return set
}
