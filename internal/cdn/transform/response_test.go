package transform

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// server serves h through a compressor.
func server(t *testing.T, c *Compressor, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := c.ResponseWriter(w, r)
		h(out, r)
		if err := out.Close(); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func fetch(t *testing.T, s *httptest.Server, method, accept string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		r.Header.Set("Accept-Encoding", accept)
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	w, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Body.Close() })
	return w
}

func TestResponses(t *testing.T) {
	c := newCompressor(t)
	body := playlist(500)
	for _, test := range []struct {
		name, method, accept string
		body                 []byte
		sized, typed         bool
		encoding             string
		length               bool // Content-Length is expected
		vary                 string
	}{
		{"of unknown length", "GET", "br", body, false, true, "br", false, "Accept-Encoding"},
		{"of known length", "GET", "zstd, gzip", body, true, true, "zstd", false, "Accept-Encoding"},
		{"HEAD", "HEAD", "gzip", body, true, true, "gzip", false, "Accept-Encoding"},
		{"not accepted", "GET", "", body, true, true, "", true, "Accept-Encoding"},
		{"video", "GET", "gzip", body, true, false, "", true, ""},
		{"short, of known length", "GET", "gzip", body[:200], true, true, "", true, ""},
		{"short, of unknown length", "GET", "gzip", body[:200], false, true, "", true, ""},
		{"empty", "GET", "gzip", nil, false, true, "", true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := server(t, c, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "video/mp4")
				if test.typed {
					w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
				}
				w.Header().Set("Etag", `"v1"`)
				if test.sized {
					w.Header().Set("Content-Length", strconv.Itoa(len(test.body)))
				}
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusOK)
				for part := range bytes.Lines(test.body) {
					if _, err := w.Write(part); err != nil && test.method != "HEAD" {
						t.Error(err)
					}
				}
			})
			w := fetch(t, s, test.method, test.accept)
			etag := `"v1"`
			if test.encoding != "" {
				etag = `W/"v1-` + test.encoding + `"`
			}
			if got := w.Header; got.Get("Content-Encoding") != test.encoding || got.Get("Etag") != etag ||
				got.Get("Vary") != test.vary || (got.Get("Content-Length") != "") != test.length {
				t.Errorf("header %v", got)
			}
			got, err := io.ReadAll(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if test.method == "HEAD" {
				return
			}
			if test.encoding != "" {
				if got, err = decode(t, c, Encoding(test.encoding), got); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, test.body) {
				t.Errorf("%d bytes, want %d", len(got), len(test.body))
			}
		})
	}
}

func TestResponsesFlush(t *testing.T) {
	c := newCompressor(t)
	next := make(chan string)
	s := server(t, c, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for part := range next {
			_, _ = io.WriteString(w, part)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	parts := []string{"data: 1\n", "data: 2\n", "data: 3\n"}
	go func() { next <- parts[0] }()
	w := fetch(t, s, "GET", "br")
	r, err := c.Reader(w.Body, Brotli)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lines := bufio.NewReader(r)
	for i, want := range parts {
		if i > 0 {
			next <- want
		}
		if got, err := lines.ReadString('\n'); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	close(next)
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v at the end", rest, err)
	}
}

func TestAbortedResponses(t *testing.T) {
	c := newCompressor(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := c.ResponseWriter(w, r)
		out.Header().Set("Content-Type", "text/css")
		fmt.Fprint(out, strings.Repeat("a{}", 1000))
		out.Flush()
		out.Abort()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	w := fetch(t, s, "GET", "gzip")
	if got, err := io.ReadAll(w.Body); err == nil {
		t.Errorf("%d bytes without an error", len(got))
	}
}
