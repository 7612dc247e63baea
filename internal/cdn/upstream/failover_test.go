package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// two returns a pool that asks first before second.
func two(t testing.TB, first, second string, change ...func(*Settings)) *Pool {
	t.Helper()
	return newPool(t, append([]func(*Settings){config(func(c *Config) {
		c.Origins = []OriginConfig{{Name: "first", URL: first}, {Name: "second", URL: second, Backup: true}}
	})}, change...)...)
}

func TestAnotherOriginIsAsked(t *testing.T) {
	head := func(s string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, s); reset(c) }
	}
	dead, _ := raw(t, reset)
	closing, _ := raw(t, func(net.Conn) {})
	midHead, _ := raw(t, head("HTTP/1.1 200 OK\r\nContent-Type: x\r\n"))
	nonsense, _ := raw(t, head("SSH-2.0-OpenSSH_9.2\r\n\r\n"))
	for _, test := range []struct {
		name, first, method, body string
		class                     FailureClass
		again                     bool
	}{
		{"refused", refusing(t), "GET", "", FailureConnect, true},
		{"refused, nothing was sent", refusing(t), "POST", "", FailureConnect, true},
		{"refused, nothing of the body was sent", refusing(t), "POST", "body", FailureConnect, true},
		{"no such name", "http://no-such-host.invalid", "GET", "", FailureResolve, true},
		{"reset before the answer", dead, "GET", "", FailureReset, true},
		{"reset before the answer to HEAD", dead, "HEAD", "", FailureReset, true},
		{"reset, not idempotent", dead, "POST", "", FailureReset, false},
		{"reset, the body was sent", dead, "PUT", "body", FailureReset, false},
		{"closed before the answer", closing, "GET", "", FailureReset, true},
		{"reset within the head", midHead, "GET", "", FailureReset, false},
		{"no HTTP", nonsense, "GET", "", FailureProtocol, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			second := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "second %s", body)
			})
			p := two(t, test.first, second.URL)
			var body io.Reader
			if test.body != "" {
				body = struct{ io.Reader }{strings.NewReader(test.body)} // one that nobody can rewind
			}
			got, trace, err := send(t, p, request(t, test.method, "/", body))
			if n := state(t, p, "first").Failures[test.class.String()]; n != 1 {
				t.Errorf("failures are %v, want one of class %s (%v)", state(t, p, "first").Failures, test.class, err)
			}
			if !test.again {
				if err == nil || classOf(t, err) != test.class || trace.Attempts != 1 {
					t.Errorf("%q, %v after %d attempts; a failure of class %s is expected", got, err, trace.Attempts, test.class)
				}
				return
			}
			want := "second " + test.body
			if test.method == "HEAD" {
				want = ""
			}
			if err != nil || got != want || trace.Origin != "second" || trace.Attempts != 2 {
				t.Errorf("%q, %v, trace %+v; the second origin's answer is expected", got, err, trace)
			}
			if n := state(t, p, "second").Retries; n != 1 {
				t.Errorf("%d retries, want 1", n)
			}
		})
	}
}

func TestARequestsBodyIsClosedOnce(t *testing.T) {
	for _, first := range []string{refusing(t), serve(t, says("x")).URL} {
		p := two(t, first, serve(t, says("y")).URL)
		body := &countingBody{Reader: strings.NewReader("body")}
		if _, _, err := send(t, p, request(t, http.MethodPut, "/", body)); err != nil {
			t.Fatal(err)
		}
		if n := body.closed.Load(); n < 1 {
			t.Error("the body was not closed")
		}
	}
	p := newPool(t, origins(refusing(t)))
	for range 4 { // the last one is refused without an attempt
		body := &countingBody{Reader: strings.NewReader("body")}
		if _, _, err := send(t, p, request(t, http.MethodPut, "/", body)); err == nil || body.closed.Load() == 0 {
			t.Errorf("error %v, closed %d times", err, body.closed.Load())
		}
	}
}

type countingBody struct {
	io.Reader
	closed atomic.Int64
}

func (b *countingBody) Close() error { b.closed.Add(1); return nil }

func TestTheOnlyOriginIsAskedAgainAfterAReset(t *testing.T) {
	var n atomic.Int64
	url, requests := raw(t, func(c net.Conn) {
		if n.Add(1) == 1 {
			reset(c)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	})
	p := newPool(t, origins(url))
	got, trace, err := get(t, p, "/")
	if err != nil || got != "ok" || trace.Attempts != 2 || requests.Load() != 2 {
		t.Errorf("%q, %v, %d attempts, %d requests", got, err, trace.Attempts, requests.Load())
	}
}

func TestSlowOrigins(t *testing.T) {
	release := make(chan struct{})
	slow := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)

	t.Run("attempt_timeout", func(t *testing.T) {
		p := two(t, slow.URL, serve(t, says("second")).URL, config(func(c *Config) { c.Retry.AttemptTimeout = 20 * time.Millisecond }))
		got, trace, err := get(t, p, "/")
		if err != nil || got != "second" || trace.Attempts != 2 || state(t, p, "first").Failures["timeout"] != 1 {
			t.Errorf("%q, %v, %+v, %v", got, err, trace, state(t, p, "first").Failures)
		}
	})
	t.Run("attempt_timeout of the last attempt", func(t *testing.T) {
		p := newPool(t, origins(slow.URL), config(func(c *Config) { c.Retry.AttemptTimeout = 20 * time.Millisecond }))
		_, _, err := get(t, p, "/")
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() || classOf(t, err) != FailureTimeout {
			t.Errorf("error %v, want a timeout", err)
		}
	})
	for _, test := range []struct {
		name  string
		cause error
		want  FailureClass
	}{
		{"the viewer has gone", nil, FailureCaller},
		{"the caller's patience has ended", errAttemptTimeout, FailureTimeout},
		{"the caller's deadline", context.DeadlineExceeded, FailureTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := two(t, slow.URL, serve(t, says("second")).URL)
			ctx, cancel := context.WithCancelCause(t.Context())
			sent := httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { cancel(test.cause) }}
			_, trace, err := send(t, p, request(t, http.MethodGet, "/", nil).WithContext(httptrace.WithClientTrace(ctx, &sent)))
			if err == nil || classOf(t, err) != test.want || trace.Attempts != 1 || !errors.Is(err, context.Cause(ctx)) {
				t.Errorf("error %v after %d attempts, want class %s", err, trace.Attempts, test.want)
			}
			wantHurt := test.want != FailureCaller
			if hurt := state(t, p, "first").LastError != ""; hurt != wantHurt {
				t.Errorf("the origin is blamed: %v, want %v", hurt, wantHurt)
			}
		})
	}
}

func TestAnswersThatBreakOff(t *testing.T) {
	broken, _ := raw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
	})
	p := two(t, broken, serve(t, says("second")).URL)
	got, trace, err := get(t, p, "/")
	if got != "abc" || !errors.Is(err, io.ErrUnexpectedEOF) || trace.Attempts != 1 {
		t.Errorf("%q, %v, %+v: what came and its end are expected", got, err, trace)
	}
	if s := state(t, p, "first"); s.Failures["body"] != 1 || s.Running != 0 || !s.Healthy {
		t.Errorf("state %+v", s)
	}
}

func TestInformationalAnswersPass(t *testing.T) {
	origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	})
	p := newPool(t, origins(origin.URL))
	var link string
	var gotConn bool
	trace := &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { link = h.Get("Link"); return nil },
		GotConn:        func(httptrace.GotConnInfo) { gotConn = true },
	}
	r := request(t, http.MethodGet, "/", nil)
	_, own, err := send(t, p, r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil || link != "</a.css>; rel=preload" || !gotConn || !own.Address.IsValid() {
		t.Errorf("error %v, Link %q, GotConn %v, trace %+v", err, link, gotConn, own)
	}
}

func TestUpgradesPass(t *testing.T) {
	url, _ := raw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, c)
	})
	p := newPool(t, origins(url))
	r := request(t, http.MethodGet, "/", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	w, err := p.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	stream, ok := w.Body.(io.ReadWriteCloser)
	if !ok || w.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%d %T, want a stream", w.StatusCode, w.Body)
	}
	fmt.Fprintln(stream, "hello")
	if line, err := bufio.NewReader(stream).ReadString('\n'); err != nil || line != "hello\n" {
		t.Errorf("%q, %v", line, err)
	}
	if n := p.State()[0].Running; n != 1 {
		t.Errorf("%d are running, want 1", n)
	}
	_ = stream.Close()
	if n := p.State()[0].Running; n != 0 {
		t.Errorf("%d are running after the end, want 0", n)
	}
}

func TestRetriesAreBounded(t *testing.T) {
	for _, attempts := range []int{2, 10} {
		p := two(t, "http://a", "http://b", func(s *Settings) {
			s.Config.Retry.Attempts = attempts
			s.Config.Passive.Failures = 1 << 30 // nobody is ever out
			for _, name := range []string{"c", "d", "e"} {
				s.Config.Origins = append(s.Config.Origins, OriginConfig{URL: "http://" + name})
			}
			s.Now = func() time.Time { return time.Unix(1000, 0) } // no floor comes in
			s.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
		})
		const requests = 1000
		for range requests {
			if _, _, err := get(t, p, "/"); err == nil {
				t.Fatal("an answer came out of nothing")
			}
		}
		sent := uint64(0)
		for _, s := range p.State() {
			sent += s.Requests
		}
		if low, high := uint64(requests*1.19), uint64(requests*1.2)+3; sent < low || sent > high {
			t.Errorf("%d attempts: %d requests were sent for %d, want %d to %d", attempts, sent, requests, low, high)
		}
		if p.metrics.exhausted.Load() == 0 {
			t.Error("that the budget was used up is not counted")
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is what a roundTripper returns.
func answer(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
}

func TestAViewersBodyThatFails(t *testing.T) {
	p := two(t, serve(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }).URL, serve(t, says("second")).URL)
	body := io.MultiReader(strings.NewReader("abc"), &failing{})
	_, trace, err := send(t, p, request(t, http.MethodPut, "/", body))
	if err == nil || classOf(t, err) != FailureCaller || trace.Attempts != 1 {
		t.Errorf("%v after %d attempts, want a failure of the caller", err, trace.Attempts)
	}
	if s := state(t, p, "first"); s.LastError != "" || s.Running != 0 {
		t.Errorf("state %+v: the origin is not to be blamed", s)
	}
	r := request(t, http.MethodGet, "/", nil)
	r.Header["X-Bad"] = []string{"a\x00b"}
	if _, _, err := send(t, p, r); err == nil || classOf(t, err) != FailureCaller {
		t.Errorf("%v, want a failure of the caller: the request cannot be sent", err)
	}
}
