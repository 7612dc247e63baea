package cmcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/weir-stream/weir/cmcd/internal/jsontext"
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
		if text = jsontext.Skip(text); text[0] != '[' {
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

var errNoObject = errors.New("cmcd: record is no JSON object: expected {…} with a member for each key")

// parseObject decodes the object at the beginning of s, which is valid JSON.
func parseObject(s string) (Values, error) {
	if s[0] != '{' {
		return Values{}, errNoObject
	}
	var p parser
	for s = jsontext.Skip(s[1:]); s[0] == '"'; {
		end := jsontext.End(s)
		name := p.jsonString(s[:end])
		s = jsontext.Skip(s[end:])
		s = jsontext.Skip(s[1:]) // the colon
		end = jsontext.End(s)
		p.jsonMember(name, s[:end])
		s = jsontext.Next(s[end:])
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

// jsonString returns the text of a string. What has escapes is written to the scratch memory.
func (p *parser) jsonString(quoted string) string {
	s := quoted[1 : len(quoted)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return p.taken(jsontext.Append(p.room(len(s)), s))
}

// jsonElements iterates over the elements of the array at the beginning of s.
func jsonElements(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s = jsontext.Skip(s[1:]); s[0] != ']'; {
			end := jsontext.End(s)
			if !yield(s[:end]) {
				return
			}
			s = jsontext.Next(s[end:])
		}
	}
}
