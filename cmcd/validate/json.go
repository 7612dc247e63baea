package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/weir-stream/weir/cmcd"
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
	switch s = jsonSkip(s); s[0] {
	case '{':
		c.object(s)
	case '[':
		c.add(ruleSyntax, "", "found an array, expected one object")
		for s = jsonSkip(s[1:]); s[0] != ']' && !c.full(); c.at++ {
			end := jsonEnd(s)
			c.version = 1
			if s[0] == '{' {
				c.object(s)
			} else {
				c.add(ruleSyntax, "", "found %s in the array, expected an object", short(s[:end]))
			}
			s = jsonNext(s[end:])
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
	for s = jsonSkip(s[1:]); s[0] != '}'; {
		end := jsonEnd(s)
		name := jsonText(s[:end])
		s = jsonSkip(s[end:])
		s = jsonSkip(s[1:]) // the colon
		end = jsonEnd(s)
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
		s = jsonNext(s[end:])
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
	for s = jsonSkip(s[1:]); s[0] != ']' && len(c.items) < sf.MaxValues; {
		end := jsonEnd(s)
		c.items = sf.Add(c.items, sf.Item{Value: jsonValue(s[:end], false)})
		s = jsonNext(s[end:])
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

// The functions below read JSON that is known to be valid.

func jsonSkip(s string) string { return strings.TrimLeft(s, " \t\r\n") }

// jsonNext goes behind a value to the next one in the object or array, or to its end.
func jsonNext(s string) string {
	if s = jsonSkip(s); s[0] == ',' {
		s = jsonSkip(s[1:])
	}
	return s
}

// jsonEnd returns where the value at the beginning of s ends.
func jsonEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of the value around it
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(s)
}

// jsonText returns the text of a string in quotes.
func jsonText(quoted string) string {
	s := quoted[1 : len(quoted)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	b := make([]byte, 0, len(s)) // no escape is shorter than what it stands for
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		i++
		if s[i] != 'u' {
			if at := strings.IndexByte("bfnrt", s[i]); at >= 0 {
				b = append(b, "\b\f\n\r\t"[at])
			} else {
				b = append(b, s[i])
			}
			continue
		}
		r := jsonUnit(s[i+1:])
		i += 4
		if utf16.IsSurrogate(r) {
			low := utf8.RuneError
			if strings.HasPrefix(s[i+1:], `\u`) {
				low = jsonUnit(s[i+3:])
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 6
			}
		}
		b = utf8.AppendRune(b, r)
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// jsonUnit returns the value of the four hexadecimal digits at the beginning of s.
func jsonUnit(s string) rune {
	var r rune
	for i := range 4 {
		r = r<<4 | rune(unhex(s[i]))
	}
	return r
}
