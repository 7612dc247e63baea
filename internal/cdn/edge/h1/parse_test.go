package h1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
)

const limit = 4 << 10

// malformed are heads that nobody is to see, by the rule that they break, with the status that they get.
var malformed = []struct {
	rule   string
	head   string
	status int
}{
	// RFC 9112 §2.2
	{"a line ends with CRLF", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
	{"a line ends with CRLF", "GET / HTTP/1.1\n\n", 400},
	{"a line ends with CRLF", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
	{"a line ends with CRLF", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
	{"a line ends with CRLF", "GET / HTTP/1.1\r\nHost: a\n\n", 400},
	{"a line ends with CRLF", "GET / HTTP/1.1\rHost: a\r\r\n", 400},
	{"a CR does not stand alone", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400},
	{"a CR does not stand alone", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400},
	{"a CR does not stand alone", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n", 400},
	{"one empty line before a request", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"an empty line ends with CRLF", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no whitespace before the first field", "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", 400},
	{"no whitespace before the first field", "GET / HTTP/1.1\r\n\tHost: a\r\nHost: a\r\n\r\n", 400},
	// RFC 9112 §3
	{"a method is a token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a method is a token", "G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a method is a token", "GÉT / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"there is a method", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"there is a target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"there is a version", "GET /\r\nHost: a\r\n\r\n", 400},
	{"there is a version", "GET / \r\nHost: a\r\n\r\n", 400},
	{"one space between the parts", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"one space between the parts", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"one space between the parts", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"one space between the parts", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
	{"no space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	// RFC 9112 §2.3
	{"a version is written so", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
	{"a version is written so", "GET / HTTP/1.1x\r\nHost: a\r\n\r\n", 400},
	{"a version is written so", "GET / HTTP/11\r\nHost: a\r\n\r\n", 400},
	{"a version is written so", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400},
	{"a version is written so", "GET / HTTP/1.x\r\nHost: a\r\n\r\n", 400},
	{"a version is written so", "GET / HTTPS/1.1\r\nHost: a\r\n\r\n", 400},
	{"the version is 1", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
	{"the version is 1", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
	{"the version is 1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"the version is 1", "GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505},
	// RFC 9112 §3.2
	{"a target is a path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a target is a path", "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a target is a path", "GET :80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a target is a path", "GET a/b:c HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"the asterisk is for OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"two hex digits follow a percent sign", "GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"two hex digits follow a percent sign", "GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"two hex digits follow a percent sign", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"two hex digits follow a percent sign", "GET /%a?b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no control characters in the target", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no control characters in the target", "GET /a\x7fb HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no control characters in the target", "GET /a\tbcdefghijkl HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no control characters in the target", "GET /abcdefghijkl?\x1f HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	// RFC 9112 §3.2, RFC 9110 §7.2
	{"there is a Host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"there is a Host", "GET / HTTP/1.1\r\nX-Host: a\r\n\r\n", 400},
	{"there is one Host", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
	{"there is one Host", "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400},
	{"there is one Host", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
	{"a Host is a host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"a Host is a host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"a Host is a host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
	{"a Host is a host", "GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400},
	// RFC 9112 §5
	{"no whitespace before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
	{"no whitespace before the colon", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400},
	{"no whitespace before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX\t: a\r\n\r\n", 400},
	{"there is a colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400},
	{"there is a name", "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", 400},
	{"a name is a token", "GET / HTTP/1.1\r\nHost: a\r\nX(Y): a\r\n\r\n", 400},
	{"a name is a token", "GET / HTTP/1.1\r\nHost: a\r\nX Y: a\r\n\r\n", 400},
	{"a name is a token", "GET / HTTP/1.1\r\nHost: a\r\nX\x00: a\r\n\r\n", 400},
	{"a name is a token", "GET / HTTP/1.1\r\nHost: a\r\nContent\x0bLength: 1\r\n\r\n", 400},
	{"a name is a token", "GET / HTTP/1.1\r\nHost: a\r\nXÉ: a\r\n\r\n", 400},
	{"no control characters in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400},
	{"no control characters in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400},
	{"no control characters in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: abcdefgh\x0bijklmnop\r\n\r\n", 400},
	{"no control characters in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \tabcdefgh\x01\r\n\r\n", 400},
	{"no control characters in what is folded", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\x00\r\n\r\n", 400},
	// RFC 9112 §6
	{"length or coding", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"length or coding", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400},
	{"one length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
	{"one length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello", 400},
	{"one length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400},
	{"a length is digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400},
	{"a length is digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", 400},
	{"a length is digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400},
	{"a length is digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 0\r\n\r\nhello", 400},
	{"a length is digits", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
	{"a length can be counted", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
	{"chunked comes last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400},
	{"chunked comes last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400},
	{"chunked comes last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked comes last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400},
	{"chunked comes last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400},
	{"chunked comes last", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400},
	{"codings are known", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
	{"codings are known", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501},
	{"one coding field", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400},
	{"one coding field", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"no coding in version 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	// the bound
	{"a head has its bound", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", limit) + "\r\n\r\n", 431},
	{"a head has its bound", "GET /" + strings.Repeat("x", limit) + " HTTP/1.1\r\nHost: a\r\n\r\n", 431},
	{"a head has its bound", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", limit/6) + "\r\n", 431},
}

func TestMalformedHeadsAreRefused(t *testing.T) {
	if len(malformed) < 60 {
		t.Errorf("only %d", len(malformed))
	}
	for _, test := range malformed {
		head := strings.TrimPrefix(test.head, "\r\n") // as the loop does
		var r Request
		if v, status := r.parse([]byte(head), limit); v != refuse || status != test.status {
			t.Errorf("%s: %.80q gets %d %d, want %d", test.rule, test.head, v, status, test.status)
		}
		for n := range head {
			if v, _ := r.parse([]byte(head[:n]), limit); v != more && v != refuse {
				t.Fatalf("%s: the first %d bytes of %.80q are taken for a request", test.rule, n, test.head)
			}
		}
	}
}

// unusual are heads that net/http is to judge, and to serve.
var unusual = []string{
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
	"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
	"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET https://a/b?c HTTP/1.1\r\nHost: other\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
	"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
	"GET /é HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n",
	"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
	"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
	"get / HTTP/1.1\r\nHost: a\r\n\r\n",
	"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na",
}

func TestUnusualHeadsAreHandedOver(t *testing.T) {
	for _, head := range unusual {
		var r Request
		if v, status := r.parse([]byte(head), limit); v != handOver {
			t.Errorf("%.80q gets %d %d", head, v, status)
		}
	}
}

func TestHeadsOfTheBound(t *testing.T) {
	const rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n"
	head := "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", limit-len(rest)) + "\r\n\r\n"
	var r Request
	if v, _ := r.parse([]byte(head+"GET"), limit); v != serve || len(r.head) != limit {
		t.Errorf("a head of %d bytes gets %d", len(head), v)
	}
	if v, status := r.parse([]byte(strings.Replace(head, "X", "XX", 1)), limit); v != refuse || status != 431 {
		t.Errorf("a byte more gets %d %d", v, status)
	}
}

// Whatever the loop serves, net/http reads as the same request and not as one byte more or less of it.
func FuzzParse(f *testing.F) {
	for _, test := range malformed {
		f.Add([]byte(test.head))
	}
	for _, head := range unusual {
		f.Add([]byte(head))
	}
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD /a%20b//c;d=e?f=g%zz&h?i HTTP/1.1\r\nhost:\t[::1]:80 \r\nX:\r\nY: \xe9\t\x80\r\nConnection: a, Close\r\n\r\nGET / HTTP/1.1\r\n",
		"GET //a:b@c/d HTTP/1.0\r\n\r\n",
		"GET /\"<>\\^`{|} HTTP/1.1\r\nHost:\r\nContent-Length: 00\r\nCookie: a\r\nCookie: b\r\n\r\n",
	} {
		f.Add([]byte(head))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		v, _ := r.parse(b, limit)
		if v != serve {
			return
		}
		head := bytes.Clone(r.head)
		if !bytes.HasPrefix(b, head) {
			t.Fatal("the head is another")
		}
		reader := bufio.NewReader(bytes.NewReader(head))
		other, err := http.ReadRequest(reader)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", head, err)
		}
		if rest, _ := io.ReadAll(reader); len(rest) > 0 || other.Body != http.NoBody || other.ContentLength != 0 {
			t.Fatalf("net/http sees a body in %q, or leaves %q", head, rest)
		}
		want := fmt.Sprint(other.Method, " ", other.RequestURI, " ", other.Host, " ", other.URL.RawQuery,
			" ", other.Close || !other.ProtoAtLeast(1, 1))
		got := fmt.Sprint(string(r.Method), " ", string(r.Target), " ", string(r.Host), " ", string(r.Query), " ", r.Close)
		if got != want {
			t.Fatalf("%q is read as %q, by net/http as %q", head, got, want)
		}
		if string(r.Path) != strings.SplitN(other.RequestURI, "?", 2)[0] || other.URL.Host != "" || other.URL.Scheme != "" {
			t.Fatalf("the path of %q is %q", head, r.Path)
		}
		fields := http.Header{}
		for name, value := range r.Fields() {
			key := textproto.CanonicalMIMEHeaderKey(string(name))
			fields[key] = append(fields[key], string(value))
		}
		delete(fields, "Host")
		if fields.Get("Pragma") == "no-cache" && fields["Cache-Control"] == nil {
			fields.Set("Cache-Control", "no-cache") // which net/http adds
		}
		if fmt.Sprint(fields) != fmt.Sprint(other.Header) {
			t.Fatalf("the fields of %q are %v, for net/http %v", head, fields, other.Header)
		}
		if n := len(fields["Cookie"]); n > 1 && !r.repeated || n == 1 && string(r.Cookie) != fields["Cookie"][0] {
			t.Fatalf("%q: cookie %q", head, r.Cookie)
		}
		for n := range head {
			if v, _ := r.parse(head[:n], limit); v != more {
				t.Fatalf("the first %d bytes of %q get %d", n, head, v)
			}
		}
	})
}

func TestWithout(t *testing.T) {
	for place := range 20 {
		for c := range 256 {
			v := bytes.Repeat([]byte("a"), 20)
			v[place] = byte(c)
			for _, ascii := range []bool{false, true} {
				want := c >= '!' && c != 0x7f && (!ascii || c < 0x80)
				if got := without(v, '!', ascii); got != want {
					t.Errorf("%#x at %d, ASCII %v: %v", c, place, ascii, got)
				}
			}
			if got, want := clean(v), c >= ' ' && c != 0x7f || c == '\t'; got != want {
				t.Errorf("%#x at %d: clean %v", c, place, got)
			}
		}
	}
}
