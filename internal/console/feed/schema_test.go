package feed

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/weir-stream/weir/internal/analytics"
)

var update = flag.Bool("update", false, "write api/feed.schema.json")

const schemaFile = "../../../api/feed.schema.json"

// The committed schema is what clients of the feed are written against, so it must be what the
// feed sends.
func TestSchemaIsUpToDate(t *testing.T) {
	schema := &jsonschema.Schema{
		Schema: "https://json-schema.org/draft/2020-12/schema", Title: "A message of the feed",
		OneOf: []*jsonschema.Schema{
			messageOf[viewers](t, eventViewers, "How many viewers there are, each second."),
			messageOf[analytics.Live](t, eventMetrics, "What is going on, each second: as GET /api/v1/live."),
			messageOf[failure](t, eventError, "What was wrong with a message of the client."),
		},
	}
	got, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("api/feed.schema.json is out of date; run go test ./internal/console/feed -update (-file +code):\n%s", diff)
	}

	// And what the feed sends fits it.
	resolved, err := schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Settings{Config: DefaultConfig(), Snapshot: &counting{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.publish(); err != nil {
		t.Fatal(err)
	}
	for _, m := range f.newest {
		var v any
		if err := json.Unmarshal(m, &v); err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(v); err != nil {
			t.Errorf("%s does not fit the schema: %v", m, err)
		}
	}
}

func messageOf[Data any](t *testing.T, event, description string) *jsonschema.Schema {
	t.Helper()
	data, err := jsonschema.For[Data](nil)
	if err != nil {
		t.Fatal(err)
	}
	if m := data.Properties["viewers_by_stream"]; m != nil {
		m.Type, m.Types = "object", nil // never null: the feed sees to it
	}
	var name any = event
	return &jsonschema.Schema{
		Type: "object", Title: event, Description: description, Required: []string{"event", "time", "data"},
		Properties: map[string]*jsonschema.Schema{
			"event": {Const: &name}, "time": {Type: "string", Format: "date-time"}, "data": data,
		},
	}
}
