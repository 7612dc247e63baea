package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/weir-stream/weir/internal/analytics"
)

// Sessions finds the sessions that are stored.
type Sessions interface {
	Sessions(ctx context.Context, filter analytics.SessionFilter) ([]analytics.Session, error)
	Session(ctx context.Context, idOrUniquePrefix string) (analytics.SessionDetails, error)
}

// Querier answers queries and says what can be asked.
type Querier interface {
	Query(ctx context.Context, q analytics.Query) (analytics.Result, error)
	Catalogue() []analytics.Metric
	Dimensions() []string
}

// Settings are what a [Server] is made of.
type Settings struct {
	Sessions Sessions
	Querier  Querier
	// Version is the version of the server that clients are told.
	Version string
	Log     *slog.Logger
	Now     func() time.Time
}

// Server is the MCP server.
type Server struct {
	set    Settings
	server *sdk.Server
}

const instructions = `Weir measures what every viewer of a stream got. Read weir://catalogue (or call list_metrics) first.
Times are UTC, durations seconds, bitrates bit/s. Find sessions with list_sessions; a session may be named by the
beginning of its ID. For "why did it buffer" call get_session_details, analyze_buffer_events and identify_playback_errors
of that session. buffer_starved_ratio is not a rebuffer ratio. Cite the provenance of what you answer.`

// The eras of the protocol: from this revision on a request stands for itself, before it there are
// connections that begin with initialize.
const statelessSince = "2026-07-28"

// The time after which an idle connection of the older era is forgotten, and how long clients may
// keep what they were told does not change.
const (
	idleTimeout = 10 * time.Minute
	listTTL     = time.Minute
)

// New returns a server.
func New(set Settings) (*Server, error) {
	if set.Sessions == nil || set.Querier == nil {
		return nil, errors.New("mcp: Sessions and Querier must be set")
	}
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	if set.Now == nil {
		set.Now = time.Now
	}
	if set.Version == "" {
		set.Version = "devel"
	}
	s := &Server{set: set}
	s.server = sdk.NewServer(implementation(set.Version), &sdk.ServerOptions{
		Instructions: instructions,
		Logger:       set.Log,
		Capabilities: &sdk.ServerCapabilities{},
		CompletionHandler: func(ctx context.Context, r *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
			return s.complete(ctx, r.Params)
		},
		SetCacheable: func(_ context.Context, r sdk.Request, c *sdk.Cacheable) {
			if _, reads := r.(*sdk.ReadResourceRequest); !reads && c.TTLMs == 0 {
				c.TTLMs = int(listTTL.Milliseconds())
			}
		},
	})
	if err := s.addTools(); err != nil {
		return nil, fmt.Errorf("mcp: %w", err)
	}
	s.addResources()
	s.addPrompts()
	return s, nil
}

func implementation(version string) *sdk.Implementation {
	return &sdk.Implementation{Name: "weir", Title: "Weir streaming analytics", Version: version}
}

// Handler serves streamable HTTP at one address, for clients of both eras. Pages of other sites
// are refused.
func (s *Server) Handler() http.Handler {
	get := func(*http.Request) *sdk.Server { return s.server }
	stateless := sdk.NewStreamableHTTPHandler(get, &sdk.StreamableHTTPOptions{
		Stateless: true, PropagateRequestCancellation: true, Logger: s.set.Log,
	})
	stateful := sdk.NewStreamableHTTPHandler(get, &sdk.StreamableHTTPOptions{
		SessionTimeout: idleTimeout, Logger: s.set.Log,
	})
	dual := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= statelessSince {
			stateless.ServeHTTP(w, r)
			return
		}
		stateful.ServeHTTP(w, r)
	})
	return http.NewCrossOriginProtection().Handler(dual)
}

// Run blocks until ctx ends and then closes the connections that clients have left open, so that
// none holds up the listener.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	var err error
	for session := range s.server.Sessions() {
		err = errors.Join(err, session.Close())
	}
	if err != nil {
		return fmt.Errorf("close MCP connections: %w", err)
	}
	return nil
}

// ServeStdio serves one client over in and out until either is closed or ctx ends.
func (s *Server) ServeStdio(ctx context.Context, in io.ReadCloser, out io.WriteCloser) error {
	return serveStdio(ctx, s.server, in, out)
}

func serveStdio(ctx context.Context, server *sdk.Server, in io.ReadCloser, out io.WriteCloser) error {
	err := server.Run(ctx, &sdk.IOTransport{Reader: in, Writer: out})
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil //nolint:nilerr // the client has gone or we were told to stop: a clean end
	}
	if err != nil {
		return fmt.Errorf("serve MCP over stdio: %w", err)
	}
	return nil
}
