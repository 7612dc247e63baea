package h2_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

// deeds are what Handlers do.
var deeds = map[string]http.HandlerFunc{
	"nothing":                        func(http.ResponseWriter, *http.Request) {},
	"a status":                       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
	"a status of 418 without a name": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(799) },
	"two statuses": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		w.WriteHeader(http.StatusTeapot)
	},
	"little": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>little") },
	"a length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		_, _ = io.WriteString(w, "abc")
	},
	"a bad length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "x")
		_, _ = io.WriteString(w, "abc")
	},
	"too much": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		_, _ = io.WriteString(w, "abc")
		_ = http.NewResponseController(w).Flush()
		if _, err := io.WriteString(w, "d"); err == nil {
			panic("no error")
		}
	},
	"too little": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "30000")
		_, _ = w.Write(pattern(20_000))
	},
	"much": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(pattern(3 << 20)) },
	"many pieces": func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			_, _ = w.Write(pattern(777))
		}
	},
	"copied": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, bytes.NewReader(pattern(500_000))) },
	"flushed": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "a")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("X-Late", "1")
		_, _ = io.WriteString(w, "b")
	},
	"flushed before anything": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
	"no body": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		_, _ = io.WriteString(w, "x")
	},
	"not modified": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
	},
	"fields": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header().Set("X-Large", strings.Repeat("z", 40_000))
		w.Header().Set("Connection", "close")
		w.Header()["Date"] = nil
	},
	"a type that is none": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>")
	},
	"early hints": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "then")
	},
	"aborts": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"aborts late": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(pattern(50_000))
		panic(http.ErrAbortHandler)
	},
	"reads all": func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintln(w, len(b), err, r.ContentLength, r.Header["Expect"])
	},
	"reads some": func(w http.ResponseWriter, r *http.Request) {
		n, err := io.ReadFull(r.Body, make([]byte, 10))
		fmt.Fprintln(w, n, err)
	},
	"echoes": func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) },
	"tells the request": func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		fmt.Fprintln(w, r.Method, r.URL, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, r.ContentLength, r.TransferEncoding, r.Close, len(r.Trailer))
		_ = h.Write(w)
	},
}

// told is what a client was told.
type told struct {
	failed  bool
	status  int
	proto   string
	length  int64
	body    string
	partial bool
	header  string
	hints   string
}

func tell(t *testing.T, c *http.Client, address, deed, method string, body io.Reader) (o told) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/deed?x=%20y&a=b+c", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "edge.test"
	r.Header.Set("Deed", deed)
	r.Header["Cookie"] = []string{"a=1", "b=2"}
	if deed == "reads all" {
		r.Header.Set("Expect", "100-continue")
	}
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code != http.StatusContinue { // net/http may leave it out where the body has come already
			o.hints += fmt.Sprint(code, h)
		}
		return nil
	}}))
	resp, err := c.Do(r)
	if err != nil {
		o.failed = true
		return o
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	o.status, o.proto, o.length, o.body, o.partial = resp.StatusCode, resp.Proto, resp.ContentLength, string(b), err != nil
	if o.partial {
		o.body = "" // how much of it came is a matter of luck
	}
	if dates := resp.Header["Date"]; len(dates) == 1 {
		if _, err := http.ParseTime(dates[0]); err == nil {
			resp.Header["Date"] = []string{"a date"}
		}
	}
	var names []string
	for name, values := range resp.Header {
		names = append(names, fmt.Sprintf("%s: %.100q", name, values))
	}
	slices.Sort(names)
	o.header = strings.Join(names, "\n")
	return o
}

// A Handler and its clients see what they would with net/http.
func TestLikeNetHTTP(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { deeds[r.Header.Get("Deed")](w, r) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reference := &http.Server{Handler: handler, Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	reference.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = reference.Serve(l) }()
	defer reference.Close()
	ours := listen(t, start(t, nil, handler, nil))
	theirs, c := l.Addr().String(), client(t)
	for deed := range deeds {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			t.Run(deed+" "+method, func(t *testing.T) {
				ask := func(address string) told {
					var body io.Reader
					if method == http.MethodPost {
						body = io.MultiReader(bytes.NewReader(pattern(200_000))) // its length is not told
						if deed != "echoes" {
							body = bytes.NewReader(pattern(100_000))
						}
					}
					return tell(t, c, address, deed, method, body)
				}
				if got, want := ask(ours), ask(theirs); got != want {
					t.Errorf("got  %.600q\nwant %.600q", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
				}
			})
		}
	}
}
