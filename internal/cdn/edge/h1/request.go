package h1

import (
	"bytes"
	"context"
	"iter"
	"net/netip"
	"time"
)

// Request is a GET or HEAD without a body. All slices point into the connection's buffer: they are valid until the
// answer is finished and are not to be written to.
//
// A field that the request does not have is nil. Of the fields named here none came twice: a request in which one did
// goes to the Handler, which sees them all.
type Request struct {
	Method []byte // GET or HEAD
	// Target is the request target in origin-form; Path is what is before its first "?", Query what is after. Nothing
	// is decoded; every "%" in Path is followed by two hex digits.
	Target, Path, Query []byte
	Host                []byte

	UserAgent, Referer, Range, IfRange, IfNoneMatch, IfModifiedSince []byte
	Cookie, Authorization, Accept, AcceptEncoding, Origin            []byte
	CacheControl, Pragma, XForwardedFor                              []byte
	// CMCD are the values of CMCD-Object, CMCD-Request, CMCD-Session and CMCD-Status (CTA-5004 §3.1).
	CMCD [4][]byte

	// Close says that the connection ends with this request, by the client's wish or its version.
	Close, HTTP10, Head bool
	// HTTP2 says that it came over that, and was written as one of HTTP/1.1 for the Hitter.
	HTTP2  bool
	Remote netip.AddrPort
	TLS    bool
	// Received is when the last byte of the head came.
	Received time.Time
	// LastTCP is what the kernel said when it was asked last how this connection fares; nil: it has not been.
	LastTCP *TCPInfo
	// Carry is what a Hitter that leaves the request to the Handler has found out about it; see [Carried].
	Carry any

	head, fields   []byte // all of it; the field lines
	length, coding []byte // of Content-Length and Transfer-Encoding
	repeated       bool   // one of the fields above came twice
	odd            bool   // well-formed, but not for this loop
}

// Fields yields the name, as it was written, and the value of each field line, in order.
func (r *Request) Fields() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for rest := r.fields; len(rest) > 0; {
			end := bytes.IndexByte(rest, '\n')
			line := rest[:end-1]
			rest = rest[end+1:]
			colon := bytes.IndexByte(line, ':')
			if !yield(line[:colon], trim(line[colon+1:])) {
				return
			}
		}
	}
}

// Raw returns the head as it came, from the request line to the empty line. Path, Query and the fields lie in it.
func (r *Request) Raw() []byte { return r.head }

// ParseRequest reads a whole head as the loop does; false if that would not be served by it. It is for those who
// want to try a [Hitter].
func ParseRequest(head []byte) (*Request, bool) {
	r := new(Request)
	v, _ := r.parse(head, len(head))
	return r, v == serve
}

// Rewritten reads a whole head that was made of a request of HTTP/2, and reports whether a [Hitter] may be asked.
// Remote, TLS and Received are the caller's.
func (r *Request) Rewritten(head []byte) bool {
	v, _ := r.parse(head, len(head)+1)
	r.HTTP2 = true
	return v == serve && !r.repeated
}

type carryKey struct{}

// WithCarry returns a context of which [Carried] returns carry.
func WithCarry(ctx context.Context, carry any) context.Context {
	return context.WithValue(ctx, carryKey{}, carry)
}

// Carried returns what the Hitter left to the Handler in the Carry of the request that ctx is of, nil if nothing.
func Carried(ctx context.Context) any { return ctx.Value(carryKey{}) }

// Answer is what a Hitter gives. It comes zeroed, but for Extra's capacity.
type Answer struct {
	// Head is the status line and the fields, each ended by CRLF, without Date, Connection and the empty line. It is
	// not written to.
	Head []byte
	// Extra are further field lines, each ended by CRLF; a Hitter appends to it what is of this moment (Age,
	// Cache-Status).
	Extra []byte
	// Body is what is sent: of a range, only that. With FD it is the same bytes as a mapping.
	Body []byte
	// FD is an open file that has the body at Offset, Length bytes long; 0 is none. It may be sent from where that is
	// cheaper; elsewhere (TLS) Body is, so both are to be given.
	FD             uintptr
	Offset, Length int64
	// Dated says that Head has a Date, which must not be made anew (RFC 9110 §6.6.1).
	Dated bool
	// NoBody says that nothing follows the head, as with 304 and 204. After HEAD nothing does anyway.
	NoBody bool
	// Pace bounds the rate of this connection, in bytes per second; 0 is no bound.
	Pace int64
	// Done, if it is not nil, is called once: when the last byte has been given to the kernel or the connection has
	// failed. Until then Body and FD are in use.
	Done func(Result)
}

// Result says how an answer went.
type Result struct {
	// Bytes are those of the body that the kernel has taken.
	Bytes int64
	// Err is nil if these are all.
	Err error
	// FirstByte and Last are when the kernel had taken the first and the last bytes of head and body.
	FirstByte, Last time.Time
	// TCP is how the connection fared, nil if the kernel was not asked. It is valid until Done returns.
	TCP *TCPInfo
}

// Hitter has answers that are ready to be written.
type Hitter interface {
	// Hit fills in the answer and reports true, or leaves the request to the Handler. It is called by many
	// connections at the same time, and must not wait.
	Hit(r *Request, a *Answer) bool
}
