package mcp

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// serve serves s over HTTP until the test ends.
func serve(t *testing.T, s *Server) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(s.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return server
}

func TestBothErasOverHTTP(t *testing.T) {
	for _, revision := range []string{"2025-11-25", "2026-07-28"} {
		t.Run(revision, func(t *testing.T) {
			server := serve(t, newServer(t, &engines{}))
			client, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(),
				&sdk.StreamableClientTransport{Endpoint: server.URL, MaxRetries: -1}, &sdk.ClientSessionOptions{ProtocolVersion: revision})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if got := client.InitializeResult().ProtocolVersion; got != revision {
				t.Errorf("speaking %s, want %s", got, revision)
			}
			var out bufferOut
			call(t, client, "analyze_buffer_events", arguments{"session": "abc-1"}, &out)
			if len(out.Rebuffers) != 1 {
				t.Errorf("rebuffers = %v", out.Rebuffers)
			}
		})
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	server := serve(t, newServer(t, &engines{}))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://evil.example.com")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("status %d, want 403", response.StatusCode)
	}
}

// pipes connect a client with a stdio server.
type pipes struct {
	client sdk.Transport
	in     io.ReadCloser
	out    io.WriteCloser
}

func newPipes() pipes {
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	return pipes{client: &sdk.IOTransport{Reader: toClient, Writer: fromClient}, in: toServer, out: fromServer}
}

func TestStdio(t *testing.T) {
	p := newPipes()
	ended := make(chan error, 1)
	go func() { ended <- newServer(t, &engines{}).ServeStdio(context.Background(), p.in, p.out) }()
	client, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), p.client, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out listMetricsOut
	call(t, client, "list_metrics", nil, &out)
	if len(out.Metrics) != 2 || len(out.Dimensions) != 2 {
		t.Errorf("catalogue = %+v", out)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("after the client has hung up: %v", err)
	}
}

func TestProxyMirrorsARunningServer(t *testing.T) {
	server := serve(t, newServer(t, &engines{}))
	p := newPipes()
	ended := make(chan error, 1)
	go func() {
		ended <- Proxy(context.Background(), ProxySettings{Endpoint: server.URL, In: p.in, Out: p.out})
	}()
	client, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), p.client, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := client.InitializeResult().Instructions; got != instructions {
		t.Errorf("instructions = %q", got)
	}
	tools, err := client.ListTools(t.Context(), nil)
	if err != nil || len(tools.Tools) != 7 || tools.Tools[0].OutputSchema == nil {
		t.Errorf("tools: %v %v", tools, err)
	}
	var out sessionDetailsOut
	call(t, client, "get_session_details", arguments{"session": "abc"}, &out)
	if out.Session.ID != "abc-1" || len(out.Requests) != 11 {
		t.Errorf("session %s with %d requests", out.Session.ID, len(out.Requests))
	}
	if result, err := client.CallTool(t.Context(), &sdk.CallToolParams{Name: "get_session_details", Arguments: arguments{"session": "zz"}}); err != nil || !result.IsError {
		t.Errorf("unknown session: %v %v", result, err)
	}
	if session, err := client.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "weir://sessions/abc-1"}); err != nil || !strings.Contains(session.Contents[0].Text, "abc-1") {
		t.Errorf("resource: %v %v", session, err)
	}
	if _, err := client.GetPrompt(t.Context(), &sdk.GetPromptParams{Name: whyPrompt, Arguments: map[string]string{"session": "abc-1"}}); err != nil {
		t.Errorf("prompt: %v", err)
	}
	if done, err := client.Complete(t.Context(), &sdk.CompleteParams{
		Ref:      &sdk.CompleteReference{Type: "ref/prompt", Name: whyPrompt},
		Argument: sdk.CompleteParamsArgument{Name: "session", Value: "session-0"},
	}); err != nil || len(done.Completion.Values) != 10 {
		t.Errorf("completion: %v %v", done, err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("after the client has hung up: %v", err)
	}
}

func TestProxyWithoutAServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String() + "/mcp"
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	err = Proxy(t.Context(), ProxySettings{Endpoint: address, In: io.NopCloser(&bytes.Buffer{}), Out: nopWriteCloser{io.Discard}})
	if err == nil || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "weir serve") {
		t.Errorf("error %v does not name the address and the command", err)
	}
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

// A server that goes away is told to the model, and one that comes back is found again.
func TestProxyOutlivesTheServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	start := func(l net.Listener) *http.Server {
		server := &http.Server{Handler: newServer(t, &engines{}).Handler(), ReadHeaderTimeout: time.Second}
		go func() { _ = server.Serve(l) }()
		return server
	}
	server := start(listener)
	p := newPipes()
	ended := make(chan error, 1)
	httpClient := &http.Client{Transport: &http.Transport{}}
	go func() {
		ended <- Proxy(context.Background(), ProxySettings{Endpoint: "http://" + address, In: p.in, Out: p.out, Client: httpClient})
	}()
	client, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), p.client, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	result, err := client.CallTool(t.Context(), &sdk.CallToolParams{Name: "list_metrics"})
	if err != nil || !result.IsError || !strings.Contains(result.Content[0].(*sdk.TextContent).Text, "weir serve") {
		t.Errorf("without the server: %+v %v", result, err)
	}
	listener, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server = start(listener)
	var out listMetricsOut
	call(t, client, "list_metrics", nil, &out)
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	httpClient.CloseIdleConnections()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
}
