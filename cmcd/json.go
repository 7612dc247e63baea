package cmcd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
)

// ParseJSON decodes the JSON of version 1: an object with the keys of one record, or an array of
// such objects. Each record is yielded with the error of [Parse]; what is no JSON is yielded as one
// record with an error of its own.
func ParseJSON(data []byte) iter.Seq2[Values, error] {
	return func(yield func(Values, error) bool) {
		objects, err := jsonObjects(data)
		if err != nil {
			yield(Values{}, err)
			return
		}
		for _, object := range objects {
			if !yield(parseObject(object)) {
				return
			}
		}
	}
}

func jsonObjects(data []byte) ([]map[string]any, error) {
	data = bytes.TrimSpace(data)
	// Numbers are kept as text, so that the same rules hold for them as elsewhere.
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var objects []map[string]any
	var err error
	if len(data) > 0 && data[0] == '[' {
		err = d.Decode(&objects)
	} else {
		objects = make([]map[string]any, 1)
		err = d.Decode(&objects[0])
	}
	if err == nil && d.More() {
		err = fmt.Errorf("there is something behind the value")
	}
	if err != nil {
		return nil, fmt.Errorf("cmcd: record is not JSON: %w", err)
	}
	return objects, nil
}

func parseObject(object map[string]any) (Values, error) {
	var p parser
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		k, known := LookupKey(name)
		if !known {
			p.customJSON(name, object[name])
			continue
		}
		list, isList := object[name].([]any)
		if !isList {
			p.set(k, p.jsonValue(k, object[name]))
			continue
		}
		if t := k.Type(); t != NumberListType && t != TextListType {
			p.warn(WarnBadValue)
			continue
		}
		items := make([]Item, 0, len(list))
		for _, element := range list {
			item := p.jsonValue(k, element)
			if len(items) < maxItems && p.fit(k, &item) {
				items = append(items, item.Item)
			} else {
				p.warn(WarnBadValue)
			}
		}
		p.mark(k)
		p.lists |= 1 << k
		p.v.SetList(k, items...)
	}
	if err := p.finish(); err != nil {
		return Values{}, err
	}
	return p.v, nil
}

// jsonValue turns a scalar of JSON into what it would be in a record.
func (p *parser) jsonValue(k Key, x any) value {
	switch x := x.(type) {
	case bool:
		return value{kind: boolean, flag: x, Item: Item{Text: strconv.FormatBool(x)}}
	case json.Number:
		v := value{Item: Item{Text: x.String()}}
		var ok bool
		if v.Number, v.decimal, ok = p.number(x.String()); ok {
			v.kind = number
		}
		return v
	case string:
		text := p.printed(x)
		if k.Type() == TokenType && isToken(text) { // JSON has no other way to write a token
			return value{kind: word, Item: Item{Text: text}}
		}
		return value{kind: quoted, Item: Item{Text: text}}
	default:
		return value{}
	}
}

func (p *parser) customJSON(name string, x any) {
	c := CustomValue{Key: name, Bare: true}
	switch x := x.(type) {
	case bool:
		if !x {
			c.Value = "?0"
		}
	case json.Number:
		c.Value = x.String()
	case string:
		c.Value, c.Bare = p.printed(x), false
	default:
		p.warn(WarnBadValue)
		return
	}
	switch {
	case !isCustom(name):
		p.warn(WarnUnknownKey)
	case len(p.v.Custom) == maxCustom:
		p.warn(WarnTooMany)
	default:
		p.v.Custom = append(p.v.Custom, c)
	}
}
