package rest

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write api/openapi.yaml")

const descriptionFile = "../../../api/openapi.yaml"

// The committed description is what the front end makes its types from, so it must be what the
// server says of itself.
func TestDescriptionIsUpToDate(t *testing.T) {
	got, err := newHandler(t, &engines{}).OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(descriptionFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(descriptionFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("api/openapi.yaml is out of date; run go test ./internal/console/rest -update (-file +code):\n%s", diff)
	}
}
