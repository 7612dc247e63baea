package cmcdtool

import (
	"encoding/json"
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// An Item of a list. Lists are lists in both versions, so that a key has one type of JSON.
type Item struct {
	Value any    `json:"value"`
	Type  string `json:"type,omitempty"`
	Range string `json:"range,omitempty"`
}

// bare is the value of a custom key that stands without quotes and is neither a number nor a boolean.
type bare struct {
	Bare string `json:"bare"`
}

// valuesOf returns the values as they are written in JSON: booleans, numbers and strings as such,
// tokens as strings, lists as arrays of [Item].
func valuesOf(v *cmcd.Values) map[string]any {
	m := make(map[string]any, v.Len()+len(v.Custom))
	for k := range v.Keys() {
		switch k.Type() {
		case cmcd.BoolType:
			m[k.String()] = v.Bool(k)
		case cmcd.NumberType:
			n, _ := v.Number(k)
			m[k.String()] = n
		case cmcd.TextType, cmcd.TokenType:
			m[k.String()] = v.Text(k)
		default:
			list := v.List(k)
			items := make([]Item, len(list))
			for i, item := range list {
				items[i] = Item{Value: item.Number, Type: item.Type, Range: item.Range}
				if k.Type() == cmcd.TextListType {
					items[i].Value = item.Text
				}
			}
			m[k.String()] = items
		}
	}
	for _, c := range v.Custom {
		m[c.Key] = customOf(c)
	}
	return m
}

func customOf(c cmcd.CustomValue) any {
	switch {
	case !c.Bare:
		return c.Value
	case c.Value == "":
		return true
	case c.Value == "?0":
		return false
	case isNumber(c.Value):
		return json.Number(c.Value)
	default:
		return bare{c.Value}
	}
}

// isNumber reports whether s is a number in JSON as well as in a record (RFC 8941 §3.3.1).
func isNumber(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	return digits != "" && strings.Trim(digits, "0123456789.") == "" && json.Valid([]byte(s))
}
