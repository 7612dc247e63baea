package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// ProxySettings are what a [Proxy] is made of.
type ProxySettings struct {
	// Endpoint is the address of a running server, such as "http://127.0.0.1:8090/mcp".
	Endpoint string
	// In and Out are the client's stdio.
	In  io.ReadCloser
	Out io.WriteCloser
	// Client is the HTTP client; the default client if nil.
	Client  *http.Client
	Version string
	Log     *slog.Logger
}

// Proxy serves one client over stdio and forwards everything to the server at the endpoint, until
// the client hangs up or ctx ends. If no server answers, the error names the address and says how
// to start one. A server that is restarted in the meantime is found again.
func Proxy(ctx context.Context, set ProxySettings) error {
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	if set.Version == "" {
		set.Version = "devel"
	}
	up := &upstream{set: set}
	defer up.close()
	session, err := up.session(ctx)
	if err != nil {
		return err
	}
	server, err := up.mirror(ctx, session)
	if err != nil {
		return err
	}
	return serveStdio(ctx, server, set.In, set.Out)
}

// upstream is the connection to the running server. It has one lock.
type upstream struct {
	set ProxySettings

	mu      sync.Mutex
	current *sdk.ClientSession
}

func (u *upstream) unreachable(err error) error {
	return fmt.Errorf("no Weir server answers at %s (start one with \"weir serve\", or name the address it listens on): %w", u.set.Endpoint, err)
}

// session returns the connection, and makes it if there is none.
func (u *upstream) session(ctx context.Context) (*sdk.ClientSession, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current != nil {
		return u.current, nil
	}
	client := sdk.NewClient(implementation(u.set.Version), &sdk.ClientOptions{Capabilities: &sdk.ClientCapabilities{}, Logger: u.set.Log})
	session, err := client.Connect(ctx, &sdk.StreamableClientTransport{
		Endpoint: u.set.Endpoint, HTTPClient: u.set.Client,
		// Nothing is sent unasked, and a request that fails is tried again here.
		DisableStandaloneSSE: true, MaxRetries: -1,
	}, nil)
	if err != nil {
		return nil, u.unreachable(err)
	}
	u.current = session
	return session, nil
}

// drop forgets a connection that has failed.
func (u *upstream) drop(failed *sdk.ClientSession) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current == failed {
		u.current = nil
	}
	_ = failed.Close() // it has failed already
}

func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current != nil {
		_ = u.current.Close() // nothing is lost: all requests have been answered
		u.current = nil
	}
}

// forward asks the server; once more on a new connection if the old one has failed, which is safe
// because nothing that is asked changes anything.
func forward[R any](ctx context.Context, u *upstream, ask func(*sdk.ClientSession) (R, error)) (R, error) {
	var none R
	for attempt := 0; ; attempt++ {
		session, err := u.session(ctx)
		if err != nil {
			return none, err
		}
		result, err := ask(session)
		if err == nil || answered(err) || ctx.Err() != nil {
			return result, err
		}
		u.drop(session)
		if attempt > 0 {
			return none, u.unreachable(err)
		}
	}
}

// answered says that err is what the server said, not that it could not be asked. The SDK uses the
// codes from -32005 to -32003 for what its own side of a connection has to say.
func answered(err error) bool {
	var answer *jsonrpc.Error
	return errors.As(err, &answer) && (answer.Code < -32005 || answer.Code > -32003)
}

// mirror makes a server that has what the running one has.
func (u *upstream) mirror(ctx context.Context, session *sdk.ClientSession) (*sdk.Server, error) {
	options := &sdk.ServerOptions{
		Capabilities: &sdk.ServerCapabilities{}, Logger: u.set.Log,
		CompletionHandler: func(ctx context.Context, r *sdk.CompleteRequest) (*sdk.CompleteResult, error) {
			return forward(ctx, u, func(s *sdk.ClientSession) (*sdk.CompleteResult, error) { return s.Complete(ctx, r.Params) })
		},
	}
	if init := session.InitializeResult(); init != nil {
		options.Instructions = init.Instructions
	}
	server := sdk.NewServer(implementation(u.set.Version), options)
	for tool, err := range session.Tools(ctx, nil) {
		if err != nil {
			return nil, fmt.Errorf("list the tools of %s: %w", u.set.Endpoint, err)
		}
		server.AddTool(tool, u.callTool)
	}
	for resource, err := range session.Resources(ctx, nil) {
		if err != nil {
			return nil, fmt.Errorf("list the resources of %s: %w", u.set.Endpoint, err)
		}
		server.AddResource(resource, u.readResource)
	}
	for template, err := range session.ResourceTemplates(ctx, nil) {
		if err != nil {
			return nil, fmt.Errorf("list the resource templates of %s: %w", u.set.Endpoint, err)
		}
		server.AddResourceTemplate(template, u.readResource)
	}
	for prompt, err := range session.Prompts(ctx, nil) {
		if err != nil {
			return nil, fmt.Errorf("list the prompts of %s: %w", u.set.Endpoint, err)
		}
		server.AddPrompt(prompt, u.getPrompt)
	}
	return server, nil
}

func (u *upstream) callTool(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	result, err := forward(ctx, u, func(s *sdk.ClientSession) (*sdk.CallToolResult, error) {
		return s.CallTool(ctx, &sdk.CallToolParams{Name: r.Params.Name, Arguments: r.Params.Arguments})
	})
	if err != nil && !answered(err) {
		// The model can tell the user; a protocol error would be shown to nobody.
		failed := &sdk.CallToolResult{}
		failed.SetError(err)
		return failed, nil
	}
	return result, err
}

func (u *upstream) readResource(ctx context.Context, r *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	return forward(ctx, u, func(s *sdk.ClientSession) (*sdk.ReadResourceResult, error) {
		return s.ReadResource(ctx, &sdk.ReadResourceParams{URI: r.Params.URI})
	})
}

func (u *upstream) getPrompt(ctx context.Context, r *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
	return forward(ctx, u, func(s *sdk.ClientSession) (*sdk.GetPromptResult, error) {
		return s.GetPrompt(ctx, &sdk.GetPromptParams{Name: r.Params.Name, Arguments: r.Params.Arguments})
	})
}
