package client

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/cmcd"
)

// vector is an example of the specification, or a case of the reference library's tests.
type vector struct {
	ID, Source, Fn, Transmission string
	Version                      int
	Input                        json.RawMessage
	Expected                     json.RawMessage
	Newest                       json.RawMessage `json:"expected_npm_2_7_0"`
	Options                      json.RawMessage
	FilterAllows                 []string
}

// deviations are the vectors where this package says something else on purpose.
var deviations = map[string]string{
	"cml.cmcd-decodeCmcd.007.1": "CTA-5004-B §4.1 item 14: the parameter of an item is the object type itself, not ot, and a list has none",
	"cml.cmcd-decodeCmcd.007.3": "CTA-5004-B §4.1 item 14: the parameter of an item is the object type itself, not ot, and a list has none",
}

func readVectors(t *testing.T, spec bool) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(v vector) bool { return (v.Fn == "spec") != spec })
}

// What the reference library is given in its tests, we send as it does.
func TestReferenceVectors(t *testing.T) {
	agreed, total := 0, 0
	for _, vec := range readVectors(t, false) {
		t.Run(vec.ID, func(t *testing.T) {
			total++
			got := reference(t, vec)
			for _, expected := range []json.RawMessage{vec.Expected, vec.Newest} {
				if expected == nil {
					continue
				}
				var want any
				if err := json.Unmarshal(expected, &want); err != nil {
					t.Fatal(err)
				}
				if reflect.DeepEqual(got, want) {
					agreed++
					if reason := deviations[vec.ID]; reason != "" {
						t.Errorf("agrees, although it is written: %s", reason)
					}
					return
				}
			}
			if reason := deviations[vec.ID]; reason != "" {
				t.Skip(reason)
			}
			t.Errorf("%s of %s\nis   %v\nwant %s", vec.Fn, vec.Input, got, vec.Expected)
		})
	}
	t.Logf("%d of %d vectors agree", agreed, total)
	if total < 93 || total-agreed > len(deviations) {
		t.Errorf("%d of %d vectors agree, %d deviations are written down", agreed, total, len(deviations))
	}
}

type referenceOptions struct {
	Version         int
	ReportingMode   string
	BaseURL         string
	CustomHeaderMap map[string][]string
}

// reference does what the function of the reference library does that the vector is for.
func reference(t *testing.T, vec vector) any {
	t.Helper()
	input, options := vec.Input, vec.Options
	if strings.HasPrefix(vec.Fn, "append") { // these take the CMCD data second
		input, options = vec.Options, nil
	}
	var ro referenceOptions
	if options != nil {
		if err := json.Unmarshal(options, &ro); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Version: ro.Version, BaseURL: ro.BaseURL, Lenient: true, CustomHeaders: map[string]cmcd.Header{}}
	o.Now = func() time.Time { return time.UnixMilli(1234) }
	if ro.ReportingMode == "event" {
		o.Mode = cmcd.EventMode
	}
	for h := cmcd.ObjectHeader; h <= cmcd.StatusHeader; h++ {
		for _, key := range ro.CustomHeaderMap[h.String()] {
			o.CustomHeaders[key] = h
		}
	}
	if vec.FilterAllows != nil {
		o.Keys, o.CustomKeys = []cmcd.Key{}, []string{}
		for _, name := range vec.FilterAllows {
			if k, ok := cmcd.LookupKey(name); ok {
				o.Keys = append(o.Keys, k)
			} else {
				o.CustomKeys = append(o.CustomKeys, name)
			}
		}
	}
	given := valuesOf(t, input)
	v := Prepare(&given, o)
	switch vec.Fn {
	case "encodeCmcd":
		return v.String()
	case "toCmcdQuery":
		return v.Query()
	case "toCmcdHeaders":
		return headerMap(v.Headers(o.CustomHeaders))
	case "appendCmcdQuery":
		var u string
		if err := json.Unmarshal(vec.Input, &u); err != nil {
			t.Fatal(err)
		}
		return AddToURL(u, v.Query())
	case "appendCmcdHeaders":
		all := map[string]any{}
		if err := json.Unmarshal(vec.Input, &all); err != nil {
			t.Fatal(err)
		}
		maps.Copy(all, headerMap(v.Headers(nil)))
		return all
	case "prepareCmcdData":
		return objectOf(&v)
	}
	t.Fatalf("no function %s", vec.Fn)
	return nil
}

// headerMap returns the headers with their names as they are written in the specification.
func headerMap(h http.Header) map[string]any {
	all := map[string]any{}
	for name := range h {
		all["CMCD"+strings.TrimPrefix(name, "Cmcd")] = h.Get(name)
	}
	return all
}

// valuesOf reads an object of the reference library. Values that a key cannot have are set to what is
// no better: a player in Go cannot give a string to a number.
func valuesOf(t *testing.T, data json.RawMessage) cmcd.Values {
	t.Helper()
	var v cmcd.Values
	object := map[string]any{}
	if data == nil || data[0] != '{' {
		return v
	}
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		x := object[name]
		k, known := cmcd.LookupKey(name)
		if !known {
			text, bare := customOf(x)
			v.Custom = append(v.Custom, cmcd.CustomValue{Key: name, Value: text, Bare: bare})
			continue
		}
		switch k.Type() {
		case cmcd.BoolType:
			v.SetBool(k, x == true)
		case cmcd.NumberType:
			v.SetNumber(k, numberOf(x))
		case cmcd.TextType, cmcd.TokenType:
			v.SetText(k, textOf(x))
		default:
			v.SetList(k, itemsOf(k, x)...)
		}
	}
	return v
}

func textOf(x any) string {
	if m, ok := x.(map[string]any); ok {
		text, _ := m["$token"].(string)
		return text
	}
	text, _ := x.(string)
	return text
}

func numberOf(x any) float64 {
	if n, ok := x.(float64); ok {
		return n
	}
	if m, ok := x.(map[string]any); ok && m["$num"] == "Infinity" {
		return math.Inf(1)
	}
	return math.NaN()
}

func itemsOf(k cmcd.Key, x any) []cmcd.Item {
	if m, ok := x.(map[string]any); ok && m["$item"] != nil {
		if list, ok := m["$item"].([]any); ok {
			x = list
		}
	}
	list, ok := x.([]any)
	if !ok {
		list = []any{x}
	}
	items := make([]cmcd.Item, len(list))
	for i, x := range list {
		if m, ok := x.(map[string]any); ok && m["$item"] != nil {
			params := m["params"].(map[string]any)
			items[i].Range, _ = params["r"].(string)
			items[i].Type = textOf(params["ot"])
			x = m["$item"]
		}
		if k.Type() == cmcd.TextListType {
			items[i].Text = textOf(x)
		} else {
			items[i].Number = numberOf(x)
		}
	}
	return items
}

func customOf(x any) (text string, bare bool) {
	switch x := x.(type) {
	case bool:
		return map[bool]string{true: "", false: "?0"}[x], true
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64), true
	case map[string]any:
		if token, ok := x["$token"].(string); ok {
			return token, true
		}
		text, bare := customOf(x["$item"])
		params := x["params"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(params)) {
			text += fmt.Sprint(";", name, "=", params[name])
		}
		return text, bare
	default:
		return textOf(x), false
	}
}

// objectOf is the way back.
func objectOf(v *cmcd.Values) map[string]any {
	object := map[string]any{}
	for k := range v.Keys() {
		name := k.String()
		switch k.Type() {
		case cmcd.BoolType:
			object[name] = v.Bool(k)
		case cmcd.NumberType:
			object[name], _ = v.Number(k)
		case cmcd.TextType:
			object[name] = v.Text(k)
		case cmcd.TokenType:
			object[name] = map[string]any{"$token": v.Text(k)}
		default:
			list := []any{}
			for _, item := range v.List(k) {
				if k.Type() == cmcd.TextListType {
					list = append(list, item.Text)
				} else {
					list = append(list, item.Number)
				}
			}
			object[name] = list
			if v.Version() == 1 {
				object[name] = list[0]
			}
		}
	}
	for _, c := range v.Custom {
		object[c.Key] = c.Value
	}
	return object
}

// altered are the examples that Prepare does not leave alone.
var altered = map[string]string{
	"spec.5004b.5.20.false": "CTA-5004-B Table 1, bs: SHOULD NOT be reported if it is FALSE; §5 item 20 only allows it",
}

// The examples of the specification are right already: Prepare leaves them as they are.
func TestSpecificationExamples(t *testing.T) {
	examples := 0
	for _, vec := range readVectors(t, true) {
		if vec.Transmission != "string" && vec.Transmission != "body" && vec.Transmission != "headers" {
			continue
		}
		t.Run(vec.ID, func(t *testing.T) {
			if reason := altered[vec.ID]; reason != "" {
				t.Skip(reason)
			}
			for _, v := range decoded(t, vec) {
				o := Options{Version: v.Version()}
				if vec.ID == "spec.5004b.4.1.innerlist" { // one key of a record of version 2
					v.SetNumber(cmcd.KeyV, 2)
					o.Version = 2
				}
				if v.Has(cmcd.KeyE) {
					o.Mode = cmcd.EventMode
				}
				examples++
				r := Prepare(&v, o)
				if !r.Equal(&v) || r.Warnings != 0 {
					t.Errorf("%s\nbecomes %s\nwith %v", v.String(), r.String(), r.Warnings)
				}
				if vec.Transmission != "headers" {
					continue
				}
				again, ok := cmcd.FromRequest("", r.Headers(nil))
				if !ok || !again.Equal(&v) {
					t.Errorf("headers %v of %s say %s", r.Headers(nil), v.String(), again.String())
				}
			}
		})
	}
	if examples < 60 {
		t.Errorf("only %d examples were looked at", examples)
	}
}

func decoded(t *testing.T, vec vector) []cmcd.Values {
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
		v, ok := cmcd.FromRequest("", h)
		if !ok {
			t.Fatal("no CMCD")
		}
		return []cmcd.Values{v}
	}
	var input string
	if err := json.Unmarshal(vec.Input, &input); err != nil {
		t.Fatal(err)
	}
	var all []cmcd.Values
	for v, err := range cmcd.ParseBody([]byte(input)) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}
