package encode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// line is what a record is decoded to, as far as it is read again.
type line struct {
	Version int             `json:"version"`
	Mode    string          `json:"mode"`
	Values  json.RawMessage `json:"values"`
}

// parseValues reads the values of a record that has been decoded. A list may have its items without the objects
// around them, and one of a single item may be that item.
func parseValues(data []byte) (cmcd.Values, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return cmcd.Values{}, fmt.Errorf("values: %w", err)
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	var v cmcd.Values
	for _, name := range names {
		if err := setValue(&v, name, m[name]); err != nil {
			return cmcd.Values{}, fmt.Errorf("values.%s: %w", name, err)
		}
	}
	return v, nil
}

func setValue(v *cmcd.Values, name string, x any) error {
	k, known := cmcd.LookupKey(name)
	if !known {
		return setCustom(v, name, x)
	}
	switch k.Type() {
	case cmcd.BoolType:
		b, ok := x.(bool)
		if !ok {
			return expected("true or false", x)
		}
		v.SetBool(k, b)
	case cmcd.NumberType:
		n, err := numberOf(x)
		if err != nil {
			return err
		}
		v.SetNumber(k, n)
	case cmcd.TextType, cmcd.TokenType:
		s, ok := x.(string)
		if !ok {
			return expected("a string", x)
		}
		v.SetText(k, s)
	default:
		list, ok := x.([]any)
		if !ok {
			list = []any{x}
		}
		items := make([]cmcd.Item, len(list))
		for i, element := range list {
			var err error
			if items[i], err = itemOf(k, element); err != nil {
				return fmt.Errorf("item %d: %w", i+1, err)
			}
		}
		v.SetList(k, items...)
	}
	return nil
}

func itemOf(k cmcd.Key, x any) (item cmcd.Item, err error) {
	if object, ok := x.(map[string]any); ok {
		for name, member := range object {
			switch s, isString := member.(string); {
			case name == "value":
			case name == "type" && isString && k.Type() == cmcd.NumberListType:
				item.Type = s
			case name == "range" && isString && k == cmcd.KeyNOR:
				item.Range = s
			default:
				return item, fmt.Errorf("%q has no place here", name)
			}
		}
		x = object["value"]
	}
	if k.Type() == cmcd.NumberListType {
		item.Number, err = numberOf(x)
		return item, err
	}
	var ok bool
	if item.Text, ok = x.(string); !ok {
		return item, expected("a string", x)
	}
	return item, nil
}

func setCustom(v *cmcd.Values, name string, x any) error {
	if !strings.Contains(name, "-") { // whether it is well-formed is judged when it is written
		return unknownKey(name)
	}
	c := cmcd.CustomValue{Key: name, Bare: true}
	switch x := x.(type) {
	case string:
		c.Value, c.Bare = x, false
	case bool:
		if !x {
			c.Value = "?0"
		}
	case json.Number:
		c.Value = x.String()
	case map[string]any:
		text, ok := x["bare"].(string)
		if !ok || len(x) != 1 {
			return errors.New(`expected a string, a number, true, false or {"bare": "what stands without quotes"}`)
		}
		c.Value = text
	default:
		return expected("a string, a number, true or false", x)
	}
	v.Custom = append(v.Custom, c)
	return nil
}

func numberOf(x any) (float64, error) {
	n, ok := x.(json.Number)
	if !ok {
		return 0, expected("a number", x)
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || f <= -1e15 || f >= 1e15 {
		return 0, fmt.Errorf("%s is too large: a number has at most 15 digits", n)
	}
	return f, nil
}

func expected(what string, x any) error {
	if x == nil {
		return fmt.Errorf("expected %s", what)
	}
	found, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("expected %s: %w", what, err)
	}
	return fmt.Errorf("expected %s, not %s", what, clip(string(found), 60))
}

// unknownKey names what was probably meant.
func unknownKey(name string) error {
	if k, ok := cmcd.LookupKey(strings.ToLower(name)); ok {
		return fmt.Errorf("%q is no key of CMCD: keys are written in lower case, did you mean %q?", name, k)
	}
	return fmt.Errorf("%q is no key of CMCD; a key of your own has a hyphen in it, such as com.example-%s", name, strings.ToLower(name))
}

// clip shortens a text that came from outside, for a message.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
