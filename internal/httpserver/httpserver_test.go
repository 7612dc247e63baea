package httpserver_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/httpserver"
)

func TestMain(m *testing.M) {
	if words := strings.Fields(os.Getenv(benchVariable)); len(words) == 3 {
		if err := benchServer(words[0], words[1], words[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m,
		// Pebble and the ACME library have goroutines that nobody can end: of the whole program, or for seconds more.
		goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
	)
}

func start(t *testing.T, handler http.HandlerFunc, drain time.Duration) (url string, stop func() error) {
	t.Helper()
	return startWith(t, handler, func(c *httpserver.Config) { c.DrainTimeout = drain })
}

func startWith(t *testing.T, handler http.HandlerFunc, change func(*httpserver.Config)) (url string, stop func() error) {
	t.Helper()
	config := httpserver.DefaultConfig("127.0.0.1:0")
	change(&config)
	server, err := httpserver.New(httpserver.Settings{Config: config, Handler: handler, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return "http://" + server.Addr().String(), func() error { cancel(); return <-done }
}

func TestARequestInFlightIsFinished(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	url, stop := start(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "whole")
	}, time.Minute)
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get(url)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	close(release)
	if got := <-answer; got != "whole" {
		t.Errorf("answer = %q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestARequestWithoutEndIsTold(t *testing.T) {
	entered := make(chan struct{})
	url, stop := start(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}, 100*time.Millisecond)
	go func() {
		if resp, err := http.Get(url); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-entered
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAnAddressInUseIsAnErrorOfListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	server, err := httpserver.New(httpserver.Settings{
		Config: httpserver.DefaultConfig(taken.Addr().String()), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("err = %v, want one that names the address", err)
	}
}

func TestCloseGivesTheAddressBack(t *testing.T) {
	server, err := httpserver.New(httpserver.Settings{
		Config: httpserver.DefaultConfig("127.0.0.1:0"), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	address := server.Addr().String()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		change func(*httpserver.Config)
		want   string
	}{
		{func(c *httpserver.Config) { c.Address = "8080" }, `address: "8080" is not host:port or :port`},
		{func(c *httpserver.Config) { c.IdleTimeout = 0 }, "idle_timeout: 0s is not a positive duration such as 10s"},
		{func(c *httpserver.Config) { c.MaxConnections = 0 }, "max_connections: 0 is less than 1"},
		{func(c *httpserver.Config) { c.MaxHeaderBytes = 1 }, "max_header_bytes: 1 is less than 4096"},
	} {
		config := httpserver.DefaultConfig(":8080")
		test.change(&config)
		if err := config.Validate(); err == nil || err.Error() != test.want {
			t.Errorf("err = %v, want %s", err, test.want)
		}
	}
}
