package cmcd

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type structuredField struct {
	Name       string
	Raw        []string
	HeaderType string `json:"header_type"`
	Expected   any
	MustFail   bool `json:"must_fail"`
	CanFail    bool `json:"can_fail"`
}

func structuredFields(t *testing.T) map[string][]structuredField {
	t.Helper()
	f, err := os.Open("internal/sf/testdata/structured-fields.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string][]structuredField
	if err := json.NewDecoder(z).Decode(&cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// Whatever is a value of a structured field (RFC 8941) is read as it is meant, without a warning that has
// to do with syntax; whatever is none costs at most itself and leaves a warning. The cases are those of the
// HTTP working group, each as the value of a key of its type. Dates and display strings (RFC 9651) are no values
// of CMCD.
func TestStructuredFieldValues(t *testing.T) {
	const notSyntax = WarnUnknownToken | WarnDecimal | WarnTooLong | WarnParameter
	keys := map[string]string{ // by file
		"string": "cid", "string-generated": "cid", "token": "ot", "token-generated": "ot",
		"number": "pr", "number-generated": "pr", "boolean": "su", "item": "pr",
	}
	read := 0
	for file, cases := range structuredFields(t) {
		key, ok := keys[file]
		if !ok {
			continue
		}
		for _, c := range cases {
			if c.HeaderType != "item" || len(c.Raw) != 1 {
				continue
			}
			raw := strings.Trim(c.Raw[0], " ") // which is allowed around a header, not around a value
			v, err := Parse(key + "=" + raw + `,sid="s-1"`)
			k, _ := LookupKey(key)
			if c.MustFail {
				if err == nil && v.Warnings == 0 && !inOrder(key, raw) {
					t.Errorf("%s: %s: %q is read as %q without a warning", file, c.Name, raw, v.String())
				}
				if v.Text(KeySID) != "s-1" && !strings.Contains(raw, `"`) {
					t.Errorf("%s: %s: %q costs the session ID: %q (%v)", file, c.Name, raw, v.String(), err)
				}
				continue
			}
			expected, _ := c.Expected.([]any)
			if len(expected) != 2 {
				t.Fatalf("%s: %s: expected %v", file, c.Name, c.Expected)
			}
			var got any
			switch want := expected[0].(type) {
			case map[string]any:
				if want["__type"] != "token" || k.Type() != TokenType {
					continue
				}
				expected[0], got = want["value"], v.Text(k)
			case bool:
				got = v.Bool(k)
			case float64:
				got, _ = v.Number(k)
			case string:
				if k.Type() != TextType {
					continue
				}
				got = v.Text(k)
			}
			read++
			if !v.Has(k) || got != expected[0] || v.Text(KeySID) != "s-1" {
				t.Errorf("%s: %s: %q is read as %v, want %v", file, c.Name, raw, got, expected[0])
			}
			if w := v.Warnings &^ notSyntax; w != 0 && !c.CanFail {
				t.Errorf("%s: %s: %q warns of %v", file, c.Name, raw, w)
			}
		}
	}
	if read < 300 {
		t.Errorf("only %d cases were read", read)
	}
}

// inOrder reports what no item may be but a member of a dictionary may: with white space or another member
// behind it.
func inOrder(key, raw string) bool {
	return strings.Contains(raw, ",") || strings.HasSuffix(raw, "\t") || key == "su" && raw == ""
}

// The same for inner lists.
func TestStructuredFieldLists(t *testing.T) {
	read := 0
	for _, c := range structuredFields(t)["listlist"] {
		if c.HeaderType != "list" || len(c.Raw) != 1 || strings.Count(c.Raw[0], "(") != 1 || !strings.HasPrefix(c.Raw[0], "(") {
			continue
		}
		v, err := Parse("br=" + c.Raw[0] + ",v=2")
		if c.MustFail {
			if v.Warnings == 0 {
				t.Errorf("%s: %q is read as %q without a warning", c.Name, c.Raw[0], v.String())
			}
			continue
		}
		inner, _ := c.Expected.([]any)[0].([]any)
		items, _ := inner[0].([]any)
		got := v.List(KeyBR)
		same := err == nil && len(got) == len(items) && v.Warnings == 0
		for i := range got {
			same = same && got[i].Number == items[i].([]any)[0]
		}
		if !same {
			t.Errorf("%s: %q is read as %v with %v, want %v", c.Name, c.Raw[0], got, v.Warnings, items)
		}
		read++
	}
	if read < 3 {
		t.Errorf("only %d cases were read", read)
	}
}
