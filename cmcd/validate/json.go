package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/sf"
)

// objects checks the JSON of version 1. An array of objects is against the text, but what is in it is
// looked at.
func (c *checker) objects(data []byte) {
	c.version = 1
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		c.add(ruleEmptyRecord, "", "there is nothing, expected an object of JSON")
		return
	}
	switch {
	case err != nil:
	case token == json.Delim('{'):
		err = c.object(d)
	case token == json.Delim('['):
		c.add(ruleSyntax, "", "found an array, expected one object")
		for c.at = 0; err == nil && d.More(); c.at++ {
			if token, err = d.Token(); err == nil && token != json.Delim('{') {
				err = fmt.Errorf("found %s in the array, expected an object", short(fmt.Sprint(token)))
			}
			if err == nil {
				err = c.object(d)
			}
		}
		c.at = 0
		if err == nil {
			_, err = d.Token()
		}
	default:
		err = fmt.Errorf("found %s, expected an object", short(fmt.Sprint(token)))
	}
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return
		}
		err = errors.New("found more behind the object, expected its end")
	}
	c.version = 1
	c.add(ruleSyntax, "", "%v", err)
}

// object checks the rest of an object whose brace has been read.
func (c *checker) object(d *json.Decoder) error {
	var p part
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("found %s, expected a key in quotes", short(fmt.Sprint(token)))
		}
		var x any
		if err := d.Decode(&x); err != nil {
			return err
		}
		if name == "" {
			c.add(ruleSyntax, "", "found an empty key, expected one of CMCD")
		} else if len(p.members) < sf.MaxValues {
			p.members = append(p.members, jsonMember(name, x))
		} else if len(p.errs) == 0 {
			p.errs = append(p.errs, &sf.SyntaxError{
				Offset: int(d.InputOffset()), Found: "more", Want: fmt.Sprintf("at most %d keys; the rest was not read", sf.MaxValues),
				Section: jsonSections[ruleSyntax],
			})
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if len(p.members) == 0 {
		c.version = 1
		c.add(ruleEmptyRecord, "", "the object is empty, expected keys and values")
		return nil
	}
	c.record([]part{p})
	return nil
}

// jsonMember turns a value of JSON into what it would be in a record.
func jsonMember(name string, x any) sf.Member {
	k, known := cmcd.LookupKey(name)
	m := sf.Member{Name: name, Raw: name, Value: jsonValue(x, known && k.Type() == cmcd.TokenType)}
	if list, ok := x.([]any); ok {
		m.List = true
		for _, element := range list[:min(len(list), sf.MaxValues)] {
			m.Items = append(m.Items, sf.Item{Value: jsonValue(element, false)})
		}
	}
	return m
}

// jsonValue turns a scalar. A token is written as a string (CTA-5004 §3.1 item 3).
func jsonValue(x any, token bool) sf.Value {
	switch x := x.(type) {
	case bool:
		return sf.Value{Kind: sf.Boolean, Bool: x}
	case string:
		if token {
			return sf.Value{Kind: sf.Token, Text: x}
		}
		return sf.Value{Kind: sf.String, Text: x}
	case json.Number:
		f, err := x.Float64()
		if err == nil {
			if v, ok := sf.NumberValue(f); ok {
				return v
			}
		}
		return sf.Value{Kind: sf.Bytes, Text: x.String()} // no number that a record could have
	default:
		return sf.Value{}
	}
}
