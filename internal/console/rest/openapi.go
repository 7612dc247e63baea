package rest

import (
	"github.com/danielgtaylor/huma/v2"
)

const overview = `What Weir measures, for programs. Durations are seconds, sizes bytes, bitrates bit/s, times
RFC 3339 in UTC. Every number is defined in docs/analytics.md; a number that is not known is null
or absent, never 0, unless its definition says so. Errors are RFC 9457 problem documents.

Beside this API the same listener has a WebSocket at /api/v1/feed and an MCP endpoint at /mcp.`

// description returns the configuration of the API. It is built by hand from huma's default, so
// that bodies have no $schema member and no documentation page is served: the console has its own.
func description(version string) huma.Config {
	config := huma.DefaultConfig("Weir", version)
	config.Info.Description = overview
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	config.OpenAPIPath = "/api/v1/openapi"
	config.DocsPath = ""
	config.SchemasPath = ""
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	config.Tags = []*huma.Tag{
		{Name: "sessions", Description: "Playbacks, one by one."},
		{Name: "metrics", Description: "Named metrics over a range of time."},
		{Name: "live", Description: "What is going on now."},
		{Name: "cdn", Description: "What edges deliver."},
		{Name: "cmcd", Description: "What players send."},
	}
	return config
}

// neverNull declares the arrays of the API as never null: the handlers send [] for none. huma has
// a switch for it, but that is a variable of the whole process; this changes one API only.
func neverNull(api *huma.OpenAPI) {
	for _, schema := range api.Components.Schemas.Map() {
		notNull(schema)
	}
	for _, item := range api.Paths {
		for _, operation := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if operation == nil {
				continue
			}
			for _, parameter := range operation.Parameters {
				notNull(parameter.Schema)
			}
		}
	}
}

func notNull(s *huma.Schema) {
	if s == nil {
		return
	}
	if s.Type == huma.TypeArray {
		s.Nullable = false
	}
	for _, property := range s.Properties {
		notNull(property)
	}
	notNull(s.Items)
	if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
		notNull(of)
	}
}
