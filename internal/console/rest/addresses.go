package rest

import (
	"context"
	"net"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Addresses are where the server is reached from where the dashboard was opened. "{stream}" stands
// for the name of a stream.
type Addresses struct {
	Watch string `json:"watch" doc:"Watch page" example:"http://localhost:8080/watch/{stream}"`
	HLS   string `json:"hls" doc:"HLS multivariant playlist" example:"http://localhost:8080/live/{stream}/index.m3u8"`
	DASH  string `json:"dash" doc:"DASH MPD" example:"http://localhost:8080/live/{stream}/manifest.mpd"`
	RTMP  string `json:"rtmp" doc:"Where to publish" example:"rtmp://localhost/live/{stream}"`
	MCP   string `json:"mcp" doc:"MCP over HTTP" example:"http://localhost:8090/mcp"`
}

// addressesInput is what host name the client knows the server by.
type addressesInput struct{ host string }

// Resolve takes the host name from the request; huma calls it.
func (in *addressesInput) Resolve(ctx huma.Context) []error {
	in.host = strings.Trim(ctx.Host(), "[]")
	if host, _, err := net.SplitHostPort(ctx.Host()); err == nil {
		in.host = host
	}
	return nil
}

type addressesOutput struct{ Body Addresses }

func (h *Handler) getAddresses(_ context.Context, in *addressesInput) (*addressesOutput, error) {
	return &addressesOutput{Body: h.set.Addresses(in.host)}, nil
}
