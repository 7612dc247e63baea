package validate

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

// specErrata are the examples of the specification that are no whole records, or break its own rules.
var specErrata = map[string]string{
	"spec.5004b.3.3.body":      "records of version 1 in a body, without e, ts and v",
	"spec.5004b.4.1.innerlist": "one key, without v=2",
	"spec.5004b.5.20.false":    "two keys, without v=2",
}

// TestSpecExamples: the specification says of its examples (§8) that they are valid, in each of the three
// ways in which it writes them.
func TestSpecExamples(t *testing.T) {
	data, err := os.ReadFile("../testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	examples := 0
	for _, vec := range vectors {
		if !strings.HasPrefix(vec.ID, "spec.") {
			continue
		}
		examples++
		var issues []Issue
		switch vec.Transmission {
		case "headers":
			var headers map[string]string
			if err := json.Unmarshal(vec.Input, &headers); err != nil {
				t.Fatal(err)
			}
			h := http.Header{}
			for name, value := range headers {
				h.Set(name, value)
			}
			issues = Headers(h)
		case "query", "url-encoded":
			issues = Query("CMCD=" + strings.TrimPrefix(text(t, vec.Input), "CMCD="))
		case "body":
			issues = Body("application/cmcd", []byte(text(t, vec.Input)))
		default:
			o := Options{}
			if strings.Contains(text(t, vec.Input), ",e=") || strings.HasPrefix(text(t, vec.Input), "e=") {
				o.Mode = cmcd.EventMode
			}
			issues = Record(text(t, vec.Input), o)
		}
		issues = slices.DeleteFunc(issues, func(i Issue) bool { return i.Rule == "privacy" })
		if (len(issues) > 0) != (specErrata[vec.ID] != "") {
			t.Errorf("%s (%s): %s: %v", vec.ID, vec.Transmission, vec.Input, issues)
		}
	}
	if examples != 70 {
		t.Errorf("%d examples, want 70", examples)
	}
}
