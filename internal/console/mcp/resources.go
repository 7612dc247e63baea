package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/weir-stream/weir/internal/analytics"
)

// The addresses of resources.
const (
	catalogueURI    = "weir://catalogue"
	sessionPrefix   = "weir://sessions/"
	sessionTemplate = sessionPrefix + "{id}"
)

const jsonType = "application/json"

func (s *Server) addResources() {
	s.server.AddResource(&sdk.Resource{
		URI: catalogueURI, Name: "catalogue", Title: "Metrics and dimensions", MIMEType: jsonType,
		Description: "Every metric with unit, definition and polarity, and the dimensions.",
	}, func(_ context.Context, r *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return resource(r.Params.URI, s.catalogue())
	})
	s.server.AddResourceTemplate(&sdk.ResourceTemplate{
		URITemplate: sessionTemplate, Name: "session", Title: "A session", MIMEType: jsonType,
		Description: "The figures of one playback session and its rebuffers; its requests are told by get_session_details.",
	}, func(ctx context.Context, r *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		id, err := url.PathUnescape(strings.TrimPrefix(r.Params.URI, sessionPrefix))
		if err != nil || id == "" {
			return nil, sdk.ResourceNotFoundError(r.Params.URI)
		}
		details, err := s.session(ctx, id)
		switch {
		case errors.Is(err, analytics.ErrNoSession), errors.Is(err, analytics.ErrAmbiguous):
			return nil, sdk.ResourceNotFoundError(r.Params.URI)
		case err != nil:
			return nil, s.explain(ctx, sessionTemplate, err)
		}
		return resource(r.Params.URI, details.Session)
	})
}

func resource(uri string, v any) (*sdk.ReadResourceResult, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write resource %s: %w", uri, err)
	}
	return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: uri, MIMEType: jsonType, Text: string(text)}}}, nil
}

const whyPrompt = "why_did_it_buffer"

func (s *Server) addPrompts() {
	s.server.AddPrompt(&sdk.Prompt{
		Name: whyPrompt, Title: "Why did this session buffer?",
		Description: "Finds out, with evidence, whose fault the rebuffers of one session were: the player's, the network's, the edge's, the origin's or the manifest's.",
		Arguments:   []*sdk.PromptArgument{{Name: "session", Title: "Session", Description: "session ID (CMCD sid) or the beginning of it", Required: true}},
	}, func(_ context.Context, r *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		id := r.Params.Arguments["session"]
		if id == "" {
			return nil, badInput("the prompt %s needs the argument session", whyPrompt)
		}
		return &sdk.GetPromptResult{
			Description: "Why session " + id + " buffered",
			Messages:    []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: fmt.Sprintf(why, id)}}},
		}, nil
	})
}

const why = `Find out whose fault the rebuffers of session %q were.

1. Call analyze_buffer_events for the session: each rebuffer comes with the requests before it.
2. Call identify_playback_errors and get_session_details for the time around each rebuffer.
3. Judge each rebuffer by the requests before it, not by the one that reports it:
   - a high ttfb_s on a hit is the edge's; a high origin_ttfb_s is the origin's (or of a cold cache: see miss_reason);
     a long queued_s or collapsed_wait_s is a wait in the edge for the origin;
   - a long duration_s after a short ttfb_s is the network's, unless the object is far larger than its bitrate says; so is a
     player_ttlb_s far longer than duration_s, an rtt_s far above min_rtt_s, and many retransmitted_bytes for sent_bytes;
   - an rwnd_limited_s that is most of busy_s is the player's or its machine's: it did not take what had come;
   - a refusal is the edge's rule or the viewer's token;
   - a bitrate above the measured throughput is the player's choice; so is a gap without a request while the buffer drained;
   - stale, failed or repeated unchanged manifests are the manifest's.
4. Name for each rebuffer the likely cause, the rows that show it with their numbers, and what speaks against it.
   Say so where the records do not suffice.`

// completions is the number of session IDs that are offered.
const completions = 20

// complete offers sessions for the arguments that name one.
func (s *Server) complete(ctx context.Context, p *sdk.CompleteParams) (*sdk.CompleteResult, error) {
	out := &sdk.CompleteResult{Completion: sdk.CompletionResultDetails{Values: []string{}}}
	if p.Argument.Name != "session" && p.Argument.Name != "id" {
		return out, nil
	}
	sessions, err := s.set.Sessions.Sessions(ctx, analytics.SessionFilter{Prefix: p.Argument.Value, Limit: completions + 1})
	if err != nil {
		return nil, s.explain(ctx, "completion", err)
	}
	for _, session := range sessions[:min(len(sessions), completions)] {
		out.Completion.Values = append(out.Completion.Values, session.ID)
	}
	out.Completion.HasMore = len(sessions) > completions
	return out, nil
}
