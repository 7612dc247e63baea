package httpserver_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/httpserver"
)

const stall = 100 * time.Millisecond

// speak sends text over a connection of its own.
func speak(t *testing.T, url, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func startStalling(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	url, stop := startWith(t, handler, func(c *httpserver.Config) { c.StallTimeout = stall })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return url
}

func TestAClientThatTakesNothingIsLeft(t *testing.T) {
	ended := make(chan error, 1)
	url := startStalling(t, func(w http.ResponseWriter, _ *http.Request) {
		for piece := make([]byte, 1<<20); ; {
			if _, err := w.Write(piece); err != nil {
				ended <- err
				return
			}
		}
	})
	speak(t, url, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the answer ended with %v, want a deadline", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the answer is still being written")
	}
}

func TestABodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"read", func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("reading the body: %v, want a deadline", err)
			}
			w.WriteHeader(http.StatusBadRequest)
		}},
		{"not read", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := startStalling(t, test.handler)
			c := speak(t, url, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1")
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Errorf("the connection stays open: %v", err)
			}
		})
	}
}

// What takes its time for a reason is not a stall.
func TestALongAnswerToABodyIsNotEnded(t *testing.T) {
	url := startStalling(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		select {
		case <-r.Context().Done():
			t.Error("the request was ended")
		case <-time.After(3 * stall):
		}
		_, _ = io.WriteString(w, "late")
	})
	c := speak(t, url, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1")
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "late" {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestConnectionsAboveTheLimitWait(t *testing.T) {
	url, stop := startWith(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
	}, func(c *httpserver.Config) { c.MaxConnections = 1 })
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	first := speak(t, url, request)
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	second := speak(t, url, request)
	_ = second.SetReadDeadline(time.Now().Add(stall))
	if n, err := second.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second connection got %d bytes and %v, want nothing yet", n, err)
	}
	_ = first.Close()
	_ = second.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil {
		t.Errorf("the second connection after the first: %v", err)
	}
	if err := stop(); err != nil { // while Accept waits for the second one's end
		t.Error(err)
	}
}
