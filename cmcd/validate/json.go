package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/jsontext"
	"github.com/weir-stream/weir/cmcd/internal/sf"
)

// objects checks the JSON of version 1. An array of objects is against the text, but what is in it is
// looked at.
func (c *checker) objects(data []byte) {
	c.version = 1
	s := string(data)
	var wrong error
	if tooDeep(s) {
		c.add(ruleSyntax, "", "found objects or arrays %d deep in each other, expected an object of strings, numbers and booleans", maxDepth+1)
		return
	}
	if !json.Valid(data) { // what the text begins with may be an object all the same
		d := json.NewDecoder(bytes.NewReader(data))
		switch err := d.Decode(&anyJSON{}); {
		case errors.Is(err, io.EOF):
			c.add(ruleEmptyRecord, "", "there is nothing, expected an object of JSON")
			return
		case err != nil:
			c.add(ruleSyntax, "", "%v", err)
			return
		}
		s = s[:d.InputOffset()]
		wrong = errors.New("found more behind the object, expected its end")
	}
	switch s = jsontext.Skip(s); s[0] {
	case '{':
		c.object(s)
	case '[':
		c.add(ruleSyntax, "", "found an array, expected one object")
		for s = jsontext.Skip(s[1:]); s[0] != ']' && !c.full(); c.at++ {
			end := jsontext.End(s)
			c.version = 1
			if s[0] == '{' {
				c.object(s)
			} else {
				c.add(ruleSyntax, "", "found %s in the array, expected an object", short(s[:end]))
			}
			s = jsontext.Next(s[end:])
		}
		c.at = 0
	default:
		wrong = fmt.Errorf("found %s, expected an object", short(s))
	}
	if wrong != nil {
		c.version = 1
		c.add(ruleSyntax, "", "%v", wrong)
	}
}

// maxDepth is how deep objects and arrays may lie in each other: version 1 has no use for more than one, but that is
// said of each value.
const maxDepth = 32

// tooDeep reports whether s has more depth than is looked at. Good JSON or not, its reader would have to remember it.
func tooDeep(s string) bool {
	depth, inString := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case inString:
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return false
}

// anyJSON is a value that is checked and not kept.
type anyJSON struct{}

func (*anyJSON) UnmarshalJSON([]byte) error { return nil }

// object checks the object at the beginning of s.
func (c *checker) object(s string) {
	c.members, c.items = c.members[:0], c.items[:0]
	var errs []*sf.SyntaxError
	found := false
	for s = jsontext.Skip(s[1:]); s[0] != '}'; {
		end := jsontext.End(s)
		name := jsonText(s[:end])
		s = jsontext.Skip(s[end:])
		s = jsontext.Skip(s[1:]) // the colon
		end = jsontext.End(s)
		found = true
		switch {
		case name == "":
			c.add(ruleSyntax, "", "found an empty key, expected one of CMCD")
		case len(c.members) < sf.MaxValues:
			c.members = sf.Add(c.members, c.jsonMember(name, s[:end]))
		case errs == nil:
			errs = []*sf.SyntaxError{{
				Found: "more", Want: fmt.Sprintf("at most %d keys; the rest was not read", sf.MaxValues), Section: jsonSection(ruleSyntax),
			}}
		}
		s = jsontext.Next(s[end:])
	}
	switch {
	case !found:
		c.add(ruleEmptyRecord, "", "the object is empty, expected keys and values")
	case len(c.members) > 0:
		c.record([]part{{members: c.members, errs: errs}})
	}
}

// jsonMember turns a value of JSON into what it would be in a record.
func (c *checker) jsonMember(name, s string) sf.Member {
	k, known := cmcd.LookupKey(name)
	m := sf.Member{Name: name, Raw: name}
	if s[0] != '[' {
		m.Value = jsonValue(s, known && k.Type() == cmcd.TokenType)
		return m
	}
	m.List = true
	start := len(c.items)
	for s = jsontext.Skip(s[1:]); s[0] != ']' && len(c.items) < sf.MaxValues; {
		end := jsontext.End(s)
		c.items = sf.Add(c.items, sf.Item{Value: jsonValue(s[:end], false)})
		s = jsontext.Next(s[end:])
	}
	m.Items = c.items[start:len(c.items):len(c.items)]
	return m
}

// jsonValue turns a scalar. A token is written as a string (CTA-5004 §3.1 item 3). What a record cannot
// have is of no kind, and says what it is.
func jsonValue(s string, token bool) sf.Value {
	switch s[0] {
	case 't', 'f':
		return sf.Value{Kind: sf.Boolean, Bool: s[0] == 't'}
	case '"':
		v := sf.Value{Kind: sf.String, Text: jsonText(s)}
		if token {
			v.Kind = sf.Token
		}
		return v
	case 'n':
		return sf.Value{Text: "null"}
	case '{':
		return sf.Value{Text: "an object"}
	case '[':
		return sf.Value{Text: "a list"}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if v, ok := sf.NumberValue(f); ok {
			return v
		}
	}
	return sf.Value{Text: "a number beyond 999,999,999,999,999"}
}

// jsonText returns the text of a string in quotes.
func jsonText(quoted string) string {
	s := quoted[1 : len(quoted)-1]
	if strings.IndexByte(s, '\\') >= 0 {
		s = string(jsontext.Append(make([]byte, 0, len(s)), s))
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
