package cmcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseJSON decodes the JSON of version 1: an object with the keys of one record, or an array of
// such objects. Each record is yielded with the error of [Parse]; what is no JSON is yielded as one
// record with an error of its own, as is an element of the array that is no object.
func ParseJSON(data []byte) iter.Seq2[Values, error] {
	return func(yield func(Values, error) bool) {
		text := string(data)
		if err := json.Unmarshal(data, &anyJSON{}); err != nil {
			yield(Values{}, fmt.Errorf("cmcd: record is not JSON: %w", err))
			return
		}
		if text = strings.TrimLeft(text, jsonSpace); text[0] != '[' {
			yield(parseObject(text))
			return
		}
		for element := range jsonElements(text) {
			if !yield(parseObject(element)) {
				return
			}
		}
	}
}

// anyJSON is a value that is checked and not kept.
type anyJSON struct{}

func (*anyJSON) UnmarshalJSON([]byte) error { return nil }

const jsonSpace = " \t\r\n"

var errNoObject = errors.New("cmcd: record is no JSON object: expected {…} with a member for each key")

// parseObject decodes the object at the beginning of s, which is valid JSON.
func parseObject(s string) (Values, error) {
	if s[0] != '{' {
		return Values{}, errNoObject
	}
	var p parser
	for s = jsonSkip(s[1:]); s[0] == '"'; {
		end := jsonEnd(s)
		name := p.jsonString(s[:end])
		s = jsonSkip(s[end:])
		s = jsonSkip(s[1:]) // the colon
		end = jsonEnd(s)
		p.jsonMember(name, s[:end])
		if s = jsonSkip(s[end:]); s[0] == ',' {
			s = jsonSkip(s[1:])
		}
	}
	if err := p.finish(); err != nil {
		return Values{}, err
	}
	return p.v, nil
}

// jsonMember adds a member of an object of version 1.
func (p *parser) jsonMember(name, text string) {
	k, known := LookupKey(name)
	switch {
	case !known:
		p.customJSON(name, text)
	case text[0] != '[':
		p.set(k, p.jsonValue(k, text))
	case k.Type() != NumberListType && k.Type() != TextListType:
		p.warn(WarnBadValue)
	default:
		p.s, p.i = text, 0 // what room is made for
		numbers, list := len(p.v.numbers), len(p.v.strings)
		var first value
		count, bad := 0, false
		for element := range jsonElements(text) {
			item := p.jsonValue(k, element)
			if !p.fit(k, &item) {
				p.warn(WarnBadValue)
				bad = true
				continue
			}
			switch count++; count {
			case 1:
				first = item
			case 2:
				p.add(k, first)
				p.add(k, item)
			default:
				p.add(k, item)
			}
		}
		if count > 0 || !bad {
			p.setList(k, first, count, numbers, list)
		}
	}
}

// jsonValue turns a scalar of JSON into what it would be in a record.
func (p *parser) jsonValue(k Key, text string) value {
	switch c := text[0]; {
	case c == 't' || c == 'f':
		return value{kind: boolean, flag: c == 't', Item: Item{Text: text}}
	case c == '-' || c-'0' <= 9:
		v := value{Item: Item{Text: text}}
		if n, err := strconv.ParseFloat(text, 64); err == nil && strings.ContainsAny(text, "eE") {
			text = strconv.FormatFloat(n, 'f', -1, 64)
		}
		var ok bool
		if v.Number, v.decimal, ok = p.number(text); ok {
			v.kind = number
		}
		return v
	case c == '"':
		s := p.tabless(p.printed(p.jsonString(text)))
		if k.Type() == TokenType && isToken(s) { // JSON has no other way to write a token
			return value{kind: word, Item: Item{Text: s}}
		}
		return value{kind: quoted, Item: Item{Text: s}}
	default: // null, or an object or array where none belongs
		return value{}
	}
}

func (p *parser) customJSON(name, text string) {
	c := CustomValue{Key: name, Value: text, Bare: true}
	switch text[0] {
	case 't':
		c.Value = ""
	case 'f':
		c.Value = "?0"
	case '"':
		c.Value, c.Bare = p.tabless(p.printed(p.jsonString(text))), false
	case 'n', '{', '[':
		p.warn(WarnBadValue)
		return
	}
	p.addCustom(c)
}

// The functions below read JSON that is known to be valid.

func jsonSkip(s string) string { return strings.TrimLeft(s, jsonSpace) }

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

// jsonString returns the text of a string. What has escapes is written to the scratch memory.
func (p *parser) jsonString(quoted string) string {
	s := quoted[1 : len(quoted)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := p.room(len(s)) // no escape is shorter than what it stands for
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		switch i++; s[i] {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
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
		default:
			b = append(b, s[i])
		}
	}
	return p.taken(b)
}

// jsonUnit returns the value of the four hexadecimal digits at the beginning of s.
func jsonUnit(s string) rune {
	var r rune
	for i := range 4 {
		r = r<<4 | rune(unhex[s[i]])
	}
	return r
}

// jsonElements iterates over the elements of the array at the beginning of s.
func jsonElements(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s = jsonSkip(s[1:]); s[0] != ']'; {
			end := jsonEnd(s)
			if !yield(s[:end]) {
				return
			}
			if s = jsonSkip(s[end:]); s[0] == ',' {
				s = jsonSkip(s[1:])
			}
		}
	}
}
