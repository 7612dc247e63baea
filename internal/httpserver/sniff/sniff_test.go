package sniff_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/httpserver/sniff"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listener gives what it accepts to the sniffer; slow clients' bytes come one by one.
type listener struct {
	net.Listener
	slow    bool
	refused func(sniff.Reason)
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.slow {
		c = slowConn{c.(*net.TCPConn)}
	}
	return sniff.New(c, l.refused), nil
}

type slowConn struct{ *net.TCPConn }

func (c slowConn) Read(p []byte) (int, error) { return c.TCPConn.Read(p[:1]) }

// recorder is a server behind the sniffer that remembers what it saw.
type recorder struct {
	address string
	mu      sync.Mutex
	whole   []string // requests whose body could be read to its end
	broken  int
	reasons []sniff.Reason
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	content, err := io.ReadAll(request.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.broken++
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.whole = append(r.whole, fmt.Sprintf("%s %s %q", request.Method, request.URL, content))
}

func record(t *testing.T, slow bool) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{address: l.Addr().String()}
	server := &http.Server{Handler: r, ConnState: func(c net.Conn, s http.ConnState) {
		if s == http.StateHijacked {
			c.(sniff.Sniffer).Hijacked()
		}
	}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener{l, slow, func(why sniff.Reason) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reasons = append(r.reasons, why)
		}})
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return r
}

// exchange sends text and returns the status codes of the answers until the server closes.
func (r *recorder) exchange(t *testing.T, text string) []int {
	t.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	var codes []int
	for reader := bufio.NewReader(c); ; {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return codes
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		codes = append(codes, response.StatusCode)
	}
}

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

func post(fields, body string) string {
	return "POST /a HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n" + body
}

func chunked(body string) string { return post("Transfer-Encoding: chunked\r\n", body) }

type refusal struct {
	name, text string
	why        sniff.Reason
}

// badHeads are refused before anybody has seen them, however they come.
var badHeads = []refusal{
	{"CL.TE", post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"), sniff.TwoFramings},
	{"TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "5c\r\n"+smuggled+"0\r\n\r\n"), sniff.TwoFramings},
	{"CL.TE, a request in the body", post("Content-Length: 40\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled), sniff.TwoFramings},
	{"CL 0 and TE", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled), sniff.TwoFramings},
	{"CL and TE on a GET", "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, sniff.TwoFramings},
	{"CL in capitals and TE in small letters", post("CONTENT-LENGTH: 6\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\nG"), sniff.TwoFramings},

	{"TE with a space before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"+smuggled), sniff.BadField},
	{"TE with a tab before the colon", post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"+smuggled), sniff.BadField},
	{"CL with a space before the colon", post("Content-Length : 3\r\n", "abc"+smuggled), sniff.BadField},
	{"TE: xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+smuggled), sniff.BadCoding},
	{"TE: chunkedx", post("Transfer-Encoding: chunkedx\r\n", "0\r\n\r\n"+smuggled), sniff.BadCoding},
	{"TE: identity", post("Transfer-Encoding: identity\r\n", smuggled), sniff.BadCoding},
	{"TE: chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"+smuggled), sniff.BadCoding},
	{"TE: identity, chunked", post("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"+smuggled), sniff.BadCoding},
	{"TE: chunked, chunked", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"+smuggled), sniff.BadCoding},
	{"TE: gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), sniff.BadCoding},
	{"TE in quotes", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), sniff.BadCoding},
	{"TE with a parameter", post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"), sniff.BadCoding},
	{"TE: chun ked", post("Transfer-Encoding: chun ked\r\n", "0\r\n\r\n"), sniff.BadCoding},
	{"TE empty", post("Transfer-Encoding:\r\n", smuggled), sniff.BadCoding},
	{"TE with a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"+smuggled), sniff.BadField},
	{"TE with a vertical tab after it", post("Transfer-Encoding: chunked\x0b\r\n", "0\r\n\r\n"), sniff.BadField},
	{"TE with a NUL", post("Transfer-Encoding: chunked\x00\r\n", "0\r\n\r\n"), sniff.BadField},
	{"TE with a DEL", post("Transfer-Encoding: chunked\x7f\r\n", "0\r\n\r\n"), sniff.BadField},
	{"TE with a bare CR in it", post("Transfer-Encoding: chunked\rX: y\r\n", "0\r\n\r\n"), sniff.BareLineEnd},
	{"TE twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), sniff.BadCoding},
	{"TE twice, one of them nothing", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"), sniff.BadCoding},
	{"TE after a folded line", post("X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled), sniff.FoldedField},
	{"TE folded", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"+smuggled), sniff.BadCoding},
	{"a folded value", post("X: a\r\n b\r\n", smuggled), sniff.FoldedField},
	{"a value folded with a tab", post("X: a\r\n\tb\r\n", smuggled), sniff.FoldedField},
	{"the first field begins with a space", "GET /a HTTP/1.1\r\n Host: x\r\n\r\n" + smuggled, sniff.FoldedField},
	{"TE in HTTP/1.0", "POST /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, sniff.BadCoding},
	{"TE with a byte above ASCII in its name", post("Transfer-\xe2Encoding: chunked\r\n", "0\r\n\r\n"), sniff.BadField},

	{"CL twice, different", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), sniff.BadLength},
	{"CL twice, the same", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), sniff.BadLength},
	{"CL as a list", post("Content-Length: 3, 3\r\n", "abc"), sniff.BadLength},
	{"CL: +3", post("Content-Length: +3\r\n", "abc"), sniff.BadLength},
	{"CL: -1", post("Content-Length: -1\r\n", smuggled), sniff.BadLength},
	{"CL: 0x3", post("Content-Length: 0x3\r\n", "abc"), sniff.BadLength},
	{"CL: 3 0", post("Content-Length: 3 0\r\n", "abc"), sniff.BadLength},
	{"CL: 1_0", post("Content-Length: 1_0\r\n", "abc"), sniff.BadLength},
	{"CL: 3.0", post("Content-Length: 3.0\r\n", "abc"), sniff.BadLength},
	{"CL empty", post("Content-Length:\r\n", smuggled), sniff.BadLength},
	{"CL above 2^63", post("Content-Length: 9223372036854775808\r\n", "abc"), sniff.BadLength},
	{"CL that wraps around", post("Content-Length: 18446744073709551619\r\n", "abc"), sniff.BadLength},

	{"a bare LF after the request line", "GET /a HTTP/1.1\nHost: x\r\n\r\n" + smuggled, sniff.BareLineEnd},
	{"a bare LF after a field", "GET /a HTTP/1.1\r\nHost: x\n\r\n" + smuggled, sniff.BareLineEnd},
	{"a bare LF ends the head", "GET /a HTTP/1.1\r\nHost: x\r\n\n" + smuggled, sniff.BareLineEnd},
	{"bare LF everywhere", "GET /a HTTP/1.1\nHost: x\n\n", sniff.BareLineEnd},
	{"a field hidden behind a bare LF", "GET /a HTTP/1.1\r\nHost: x\r\nX: y\nContent-Length: 36\r\n\r\n" + smuggled, sniff.BareLineEnd},
	{"a bare CR in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", sniff.BareLineEnd},
	{"a bare CR in the request line", "GET /a HTTP/1.1\rHost: x\r\n\r\n", sniff.BareLineEnd},
	{"CR CR LF", "GET /a HTTP/1.1\r\nHost: x\r\r\n\r\n", sniff.BareLineEnd},
	{"a NUL in a name", "GET /a HTTP/1.1\r\nHost: x\r\nX\x00: y\r\n\r\n", sniff.BadField},
	{"a field without a colon", "GET /a HTTP/1.1\r\nHost: x\r\nX y\r\n\r\n", sniff.BadField},
	{"a field without a name", "GET /a HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", ""},
	{"an empty line first", "\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"two spaces in the request line", "GET  /a HTTP/1.1\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"a tab in the request line", "GET\t/a HTTP/1.1\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"a space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"a space after the version", "GET /a HTTP/1.1 \r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"no version", "GET /a\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"a version in small letters", "GET /a http/1.1\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"HTTP/1.2", "GET /a HTTP/1.2\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"HTTP/1.10", "GET /a HTTP/1.10\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", sniff.BadRequestLine},
	{"a control character in the target", "GET /a\x01 HTTP/1.1\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"a method that is no token", "G{T /a HTTP/1.1\r\nHost: x\r\n\r\n", sniff.BadRequestLine},
	{"two Hosts", "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", sniff.BadHost},
	{"no Host", "GET /a HTTP/1.1\r\nX: y\r\n\r\n", sniff.BadHost},
	{"bytes of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", sniff.BadRequestLine},
}

// badBodies are, too, if they come with their head.
var badBodies = []refusal{
	{"a bare LF after a chunk's size", chunked("3\nabc\r\n0\r\n\r\n" + smuggled), sniff.BareLineEnd},
	{"a bare LF after a chunk", chunked("3\r\nabc\n0\r\n\r\n" + smuggled), sniff.BadChunk},
	{"a bare LF after the last chunk", chunked("3\r\nabc\r\n0\n\r\n" + smuggled), sniff.BareLineEnd},
	{"a bare LF ends the trailer", chunked("3\r\nabc\r\n0\r\n\n" + smuggled), sniff.BareLineEnd},
	{"a bare LF in a chunk's extension", chunked("3;a\nabc\r\n0\r\n\r\n" + smuggled), sniff.BareLineEnd},
	{"a bare CR in a chunk's extension", chunked("3;a\rb\r\nabc\r\n0\r\n\r\n"), sniff.BareLineEnd},
	{"a control character in a chunk's extension", chunked("3;a\x00\r\nabc\r\n0\r\n\r\n"), sniff.BadChunk},
	{"a chunk's size with 0x", chunked("0x3\r\nabc\r\n0\r\n\r\n"), sniff.BadChunk},
	{"a chunk's size with a sign", chunked("+3\r\nabc\r\n0\r\n\r\n"), sniff.BadChunk},
	{"a chunk's size of nothing", chunked("\r\nabc\r\n0\r\n\r\n"), sniff.BadChunk},
	{"a chunk's size that is none", chunked("xyz\r\n\r\n" + smuggled), sniff.BadChunk},
	{"a space before a chunk's size", chunked(" 3\r\nabc\r\n0\r\n\r\n"), sniff.BadChunk},
	{"a space after a chunk's size", chunked("3 \r\nabc\r\n0\r\n\r\n"), sniff.BadChunk},
	{"a chunk's size above 2^63", chunked("8000000000000000\r\nabc\r\n0\r\n\r\n"), sniff.BadChunk},
	{"a chunk's size that wraps around", chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"), sniff.BadChunk},
	{"a chunk that is longer than it says", chunked("3\r\nabcd\r\n0\r\n\r\n" + smuggled), sniff.BadChunk},
	{"a chunk that is shorter than it says", chunked("5\r\nabc\r\n0\r\n\r\n" + smuggled), sniff.BadChunk},
	{"CL in a trailer", chunked("3\r\nabc\r\n0\r\nContent-Length: 36\r\n\r\n" + smuggled), sniff.BadTrailer},
	{"TE in a trailer", chunked("3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled), sniff.BadTrailer},
	{"a folded trailer", chunked("3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n" + smuggled), sniff.FoldedField},
	{"a trailer without a colon", chunked("3\r\nabc\r\n0\r\nX\r\n\r\n" + smuggled), sniff.BareLineEnd},
	{"a trailer with a control character", chunked("3\r\nabc\r\n0\r\nX: \x01\r\n\r\n" + smuggled), sniff.BadTrailer},
}

func TestARequestOfTwoReadingsIsRefused(t *testing.T) {
	refusals := slices.Concat(badHeads, badBodies)
	if len(refusals) < 60 {
		t.Errorf("only %d requests", len(refusals))
	}
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			r := record(t, false)
			r.wantRefusal(t, test)
			if len(r.whole) > 0 || r.broken > 0 {
				t.Errorf("the handler saw %v and %d broken ones", r.whole, r.broken)
			}
		})
	}
}

// However the bytes are cut into packets, no handler sees a whole request, and nothing of what follows.
func TestPacketsMakeNoDifference(t *testing.T) {
	for _, test := range slices.Concat(badHeads, badBodies) {
		t.Run(test.name, func(t *testing.T) {
			r := record(t, true)
			r.wantRefusal(t, test)
			if len(r.whole) > 0 {
				t.Errorf("the handler saw %v", r.whole)
			}
			if r.broken > 0 && slices.Contains(badHeads, test) {
				t.Error("the handler saw a request although its head is wrong")
			}
		})
	}
}

func (r *recorder) wantRefusal(t *testing.T, test refusal) {
	t.Helper()
	codes := r.exchange(t, test.text)
	if len(codes) != 1 || codes[0] != http.StatusBadRequest {
		t.Errorf("answers %v, want one of 400", codes)
	}
	if test.why == "" { // net/http's own refusal
		return
	}
	if len(r.reasons) != 1 || r.reasons[0] != test.why {
		t.Errorf("refused for %v, want %s", r.reasons, test.why)
	}
}

func TestWellFormedRequestsPass(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"GET", "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", []string{`GET /a?b ""`}},
		{"HTTP/1.0 without Host", "GET /a HTTP/1.0\r\n\r\n", []string{`GET /a ""`}},
		{"an empty Host", "GET /a HTTP/1.1\r\nHost:\r\n\r\n", []string{`GET /a ""`}},
		{"a body", post("Content-Length: 3\r\n", "abc"), []string{`POST /a "abc"`}},
		{"a length with spaces around", post("Content-Length: \t 3 \t\r\n", "abc"), []string{`POST /a "abc"`}},
		{"a length of nothing", post("Content-Length: 0\r\n", ""), []string{`POST /a ""`}},
		{"a request in a body", post("Content-Length: 37\r\n", smuggled+"  "), []string{fmt.Sprintf("POST /a %q", smuggled+"  ")}},
		{"chunks", chunked("3\r\nabc\r\n00a\r\n0123456789\r\n0\r\n\r\n"), []string{`POST /a "abc0123456789"`}},
		{"Chunked in capitals", post("Transfer-Encoding: CHUNKED \r\n", "A\r\n0123456789\r\n0\r\n\r\n"), []string{`POST /a "0123456789"`}},
		{"a chunk's extension", chunked("3;a=\"b\"\r\nabc\r\n0;c\r\n\r\n"), []string{`POST /a "abc"`}},
		{"a trailer", chunked("3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"), []string{`POST /a "abc"`}},
		{"line ends in a body", post("Content-Length: 4\r\n", "\n\n\r\x00"), []string{`POST /a "\n\n\r\x00"`}},
		{"bytes above ASCII in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX: \xc3\xa9\r\n\r\n", []string{`GET /a ""`}},
		{"a name that only begins like a length", "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length-Of: x\r\nHosts: y\r\nContent_Length: z\r\n\r\n", []string{`GET /a ""`}},
		{
			"several in one packet",
			post("Content-Length: 3\r\n", "abc") + chunked("1\r\nz\r\n0\r\n\r\n") + smuggled,
			[]string{`POST /a "abc"`, `POST /a "z"`, `GET /smuggled ""`},
		},
	} {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/slow=%v", test.name, slow), func(t *testing.T) {
				r := record(t, slow)
				codes := r.exchange(t, test.text)
				if fmt.Sprint(r.whole) != fmt.Sprint(test.want) || len(codes) != len(test.want) {
					t.Errorf("the handler saw %v (answers %v), want %v", r.whole, codes, test.want)
				}
				if len(r.reasons) > 0 {
					t.Errorf("refused for %v", r.reasons)
				}
			})
		}
	}
}

// What came before a malformed request gets its answer first.
func TestTheRequestBeforeIsAnswered(t *testing.T) {
	for _, slow := range []bool{false, true} {
		r := record(t, slow)
		codes := r.exchange(t, post("Content-Length: 3\r\n", "abc")+"GET /b HTTP/1.1\nHost: x\r\n\r\n")
		if fmt.Sprint(codes) != "[200 400]" || len(r.whole) != 1 {
			t.Errorf("slow=%v: answers %v, the handler saw %v", slow, codes, r.whole)
		}
	}
}

func TestAfterHijackingAnythingPasses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			_, _ = io.CopyN(c, rw, 4)
		}),
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateHijacked {
				c.(sniff.Sniffer).Hijacked()
			}
		},
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener{l, false, func(why sniff.Reason) { t.Errorf("refused for %s", why) }})
	}()
	defer func() {
		_ = server.Close()
		<-served
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	reader := bufio.NewReader(c)
	if response, err := http.ReadResponse(reader, nil); err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
	_, _ = c.Write([]byte{0x82, 0, '\n', 0xff})
	echo := make([]byte, 4)
	if _, err := io.ReadFull(reader, echo); err != nil || echo[3] != 0xff {
		t.Errorf("echo %x, %v", echo, err)
	}
}
