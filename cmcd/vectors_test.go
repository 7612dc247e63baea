package cmcd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// vector is one decoding case of the specification's examples or of the reference library's tests.
type vector struct {
	ID, Source, Transmission string
	Version                  int
	Input                    json.RawMessage
	Expected                 json.RawMessage
}

func TestVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 97 {
		t.Errorf("%d vectors, want 97 or more", len(vectors))
	}
	for _, vec := range vectors {
		t.Run(vec.ID, func(t *testing.T) {
			got := decodeVector(t, vec)
			var want any
			if err := json.Unmarshal(vec.Expected, &want); err != nil {
				t.Fatal(err)
			}
			if list, ok := want.([]any); ok {
				if len(list) != len(got) {
					t.Fatalf("%d records, want %d", len(got), len(list))
				}
				for i := range got {
					compareRecord(t, list[i].(map[string]any), &got[i])
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("%d records, want 1", len(got))
			}
			compareRecord(t, want.(map[string]any), &got[0])
		})
	}
}

func decodeVector(t *testing.T, vec vector) []Values {
	t.Helper()
	if vec.Transmission == "headers" {
		var headers map[string]string
		if err := json.Unmarshal(vec.Input, &headers); err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		for k, v := range headers {
			h.Set(k, v)
		}
		v, _ := FromRequest("", h)
		return []Values{v}
	}
	var input string
	if err := json.Unmarshal(vec.Input, &input); err != nil {
		t.Fatal(err)
	}
	switch vec.Transmission {
	case "body":
		var all []Values
		for v, err := range ParseBody([]byte(input)) {
			if err != nil {
				t.Errorf("record %d: %v", len(all), err)
			}
			all = append(all, v)
		}
		return all
	case "query", "url-encoded":
		if !strings.HasPrefix(input, "CMCD=") {
			input = "CMCD=" + input
		}
		v, _ := FromRequest(input, nil)
		return []Values{v}
	default:
		v, _ := Parse(input)
		return []Values{v}
	}
}

// compareRecord holds v against the reference's notation: {"$token": …}, and {"$item": …,
// "params": …} for a value with parameters.
func compareRecord(t *testing.T, want map[string]any, v *Values) {
	t.Helper()
	got := map[string]any{}
	for k := range v.Keys() {
		switch k.Type() {
		case BoolType:
			got[k.String()] = v.Bool(k)
		case NumberType:
			got[k.String()], _ = v.Number(k)
		case TextType, TokenType:
			got[k.String()] = v.Text(k)
		default:
			list := []any{}
			for _, item := range v.List(k) {
				list = append(list, fmt.Sprint(item.Number, item.Text, ";", item.Type, ";", item.Range))
			}
			got[k.String()] = list
		}
	}
	for _, c := range v.Custom {
		got[c.Key] = c.Value
	}
	for name, w := range want {
		k, known := LookupKey(name)
		switch {
		case !known:
			want[name] = customText(w)
		case k.Type() == NumberListType || k.Type() == TextListType:
			want[name] = listText(w)
		default:
			want[name] = plain(w)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("record is %v\nwant      %v", got, want)
	}
}

func plain(w any) any {
	if m, ok := w.(map[string]any); ok {
		if token, ok := m["$token"]; ok {
			return token
		}
		return plain(m["$item"])
	}
	return w
}

func listText(w any) any {
	if m, ok := w.(map[string]any); ok && m["$item"] != nil {
		if inner, ok := m["$item"].([]any); ok {
			w = inner
		}
	}
	items, ok := w.([]any)
	if !ok {
		items = []any{w}
	}
	list := []any{}
	for _, item := range items {
		var typ, r string
		if m, ok := item.(map[string]any); ok {
			params, _ := m["params"].(map[string]any)
			for name, value := range params {
				switch {
				case name == "r":
					r = value.(string)
				case name == "ot":
					typ = plain(value).(string)
				case value == true && !strings.HasPrefix(name, "$"):
					typ = name
				}
			}
		}
		switch x := plain(item).(type) {
		case float64:
			list = append(list, fmt.Sprint(x, "", ";", typ, ";", r))
		default:
			list = append(list, fmt.Sprint(0, x, ";", typ, ";", r))
		}
	}
	return list
}

// customText writes the reference's value of a custom key as it stands on the wire.
func customText(w any) any {
	switch w := w.(type) {
	case bool:
		return ""
	case float64:
		return fmt.Sprint(w)
	case []any:
		parts := make([]string, len(w))
		for i := range w {
			parts[i] = customText(w[i]).(string)
		}
		return "(" + strings.Join(parts, " ") + ")"
	case map[string]any:
		if token, ok := w["$token"]; ok {
			return token
		}
		text := customText(w["$item"]).(string)
		params, _ := w["params"].(map[string]any)
		names := []string{}
		for name := range params {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			text += fmt.Sprint(";", name, "=", params[name])
		}
		return text
	default:
		return w
	}
}
