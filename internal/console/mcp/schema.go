package mcp

import (
	"context"
	"fmt"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// tool is what a tool is, apart from what it does.
type tool struct {
	name, title, description string
	// limits bounds the input's integers: name → least, greatest.
	limits map[string][2]float64
}

// add registers a tool. Its schemas are made from the types, and then made portable: some clients
// drop what may be null, so that nothing may.
func add[In, Out any](s *Server, t tool, do func(ctx context.Context, in In) (Out, string, error)) error {
	in, err := schemaOf[In]()
	if err != nil {
		return fmt.Errorf("input schema of %s: %w", t.name, err)
	}
	out, err := schemaOf[Out]()
	if err != nil {
		return fmt.Errorf("output schema of %s: %w", t.name, err)
	}
	for name, limit := range t.limits {
		property := in.Properties[name]
		if property == nil {
			return fmt.Errorf("input schema of %s: no property %q to bound", t.name, name)
		}
		property.Minimum, property.Maximum = &limit[0], &limit[1]
	}
	no := false
	sdk.AddTool(s.server, &sdk.Tool{
		Name: t.name, Title: t.title, Description: t.description, InputSchema: in, OutputSchema: out,
		Annotations: &sdk.ToolAnnotations{
			Title: t.title, ReadOnlyHint: true, IdempotentHint: true, DestructiveHint: &no, OpenWorldHint: &no,
		},
	}, func(ctx context.Context, _ *sdk.CallToolRequest, in In) (*sdk.CallToolResult, Out, error) {
		result, text, err := do(ctx, in)
		if err != nil {
			var none Out
			return nil, none, s.explain(ctx, t.name, err)
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}}, result, nil
	})
	return nil
}

func schemaOf[T any]() (*jsonschema.Schema, error) {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		return nil, err
	}
	notNull(s)
	return s, nil
}

// notNull turns the ["null", T] that slices, maps and pointers are inferred as into T. What is not
// known is left out, and what is empty is [] or {}.
func notNull(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	for _, p := range s.Properties {
		notNull(p)
	}
	for _, d := range s.Defs {
		notNull(d)
	}
	notNull(s.Items)
	notNull(s.AdditionalProperties)
}
