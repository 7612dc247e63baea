package cmcd

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// String returns the record as it is written on the wire: keys in alphabetical order, no spaces,
// in the syntax of its version. [Parse] of it gives a record equal to what was decoded. What cannot be
// written, such as a number of more than 15 digits or a token with a space in it, is left out; control
// characters become spaces. Characters beyond ASCII are written as they are, which no structured field
// may have: package client makes of values what a player may send.
func (v *Values) String() string { return string(v.Append(nil)) }

// Append appends the record to b as [Values.String] writes it.
func (v *Values) Append(b []byte) []byte { return v.append(b, v.Version()) }

// append appends the record in the syntax of a version.
func (v *Values) append(b []byte, version int) []byte {
	start := len(b)
	custom := v.writableCustom()
	for k := range v.Keys() {
		name := k.String()
		for len(custom) > 0 && custom[0].Key < name {
			b = appendCustom(separate(b, start), custom[0])
			custom = custom[1:]
		}
		end := len(b)
		b = append(separate(b, start), name...)
		var ok bool
		if b, ok = v.appendValue(b, k, version); !ok {
			b = b[:end]
		}
	}
	for _, c := range custom {
		b = appendCustom(separate(b, start), c)
	}
	return b
}

// Map returns the values by key, each as it is written on the wire; booleans, which are written as
// the key alone, are "true" or "false".
func (v *Values) Map() map[string]string {
	m := make(map[string]string, v.Len()+len(v.Custom))
	for k := range v.Keys() {
		if k.Type() == BoolType {
			m[k.String()] = strconv.FormatBool(v.Bool(k))
			continue
		}
		if b, ok := v.appendValue(nil, k, v.Version()); ok {
			m[k.String()] = string(b[1:])
		}
	}
	for _, c := range v.writableCustom() {
		if b := appendCustom(nil, c)[len(c.Key):]; len(b) > 0 {
			m[c.Key] = strings.TrimPrefix(string(b), "=")
		} else {
			m[c.Key] = "true"
		}
	}
	return m
}

// Query returns the record as an argument for the query of a URL (§3.2), "CMCD=…" with everything
// percent-encoded that must be; "" if there is nothing to write.
func (v *Values) Query() string {
	record := v.Append(nil)
	if len(record) == 0 {
		return ""
	}
	b := make([]byte, 0, len(record)*3/2+len("CMCD="))
	b = append(b, "CMCD="...)
	for _, c := range record {
		if isAlnum(c) || strings.IndexByte("-_.!~*'()", c) >= 0 { // what encodeURIComponent leaves alone
			b = append(b, c)
		} else {
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return string(b)
}

// Headers returns the record as the headers of a request (§3.1), each key in that of its version. A
// custom key goes where custom says, else where the registry of custom keys says, else into
// CMCD-Request; a key that has no header is left out. There are no headers without a key.
func (v *Values) Headers(custom map[string]Header) http.Header {
	var shards [StatusHeader + 1]Values
	version := v.Version()
	for k := range v.Keys() {
		shards[k.Header(version)].copyKey(v, k)
	}
	for _, c := range v.Custom {
		h, ok := custom[c.Key]
		if !ok || h > StatusHeader {
			h = RequestHeader
			if registered, ok := LookupCustomKey(c.Key); ok {
				h = registered.Header
			}
		}
		shards[h].Custom = append(shards[h].Custom, c)
	}
	headers := http.Header{}
	for h := ObjectHeader; h <= StatusHeader; h++ {
		if record := string(shards[h].append(nil, version)); record != "" {
			headers.Set(h.String(), record)
		}
	}
	return headers
}

// copyKey gives v the value that w has for k.
func (v *Values) copyKey(w *Values, k Key) {
	switch k.Type() {
	case BoolType:
		v.SetBool(k, w.Bool(k))
	case NumberType:
		v.SetNumber(k, w.nums[k.slot()])
	case TextType, TokenType:
		v.SetText(k, w.texts[k.slot()])
	default:
		v.SetList(k, w.List(k)...)
	}
}

func separate(b []byte, start int) []byte {
	if len(b) > start {
		return append(b, ',')
	}
	return b
}

// appendValue appends the value of key k with its equals sign. It reports false if there is none
// to be written.
func (v *Values) appendValue(b []byte, k Key, version int) ([]byte, bool) {
	switch k.Type() {
	case BoolType:
		if !v.Bool(k) {
			b = append(b, "=?0"...)
		}
		return b, true
	case NumberType:
		return appendNumber(append(b, '='), v.nums[k.slot()])
	case TextType:
		return appendText(append(b, '='), v.texts[k.slot()]), true
	case TokenType:
		token := v.texts[k.slot()]
		return append(append(b, '='), token...), isToken(token)
	default:
		return v.appendList(append(b, '='), k, version)
	}
}

func (v *Values) appendList(b []byte, k Key, version int) ([]byte, bool) {
	if v.single&(1<<k) == 0 {
		b = append(b, '(')
		start, none := len(b), true
		for item := range v.Items(k) {
			none = false
			end := len(b)
			if end > start {
				b = append(b, ' ')
			}
			var ok bool
			if b, ok = appendItem(b, k, &item); !ok {
				b = b[:end]
			}
		}
		return append(b, ')'), none || len(b) > start
	}
	bare := scalarInV1&(1<<k) != 0 && version == 1
	if !bare {
		b = append(b, '(')
	}
	ok := true
	if k.Type() == TextListType {
		b = appendText(b, v.texts[k.singleText()])
	} else {
		b, ok = appendNumber(b, v.nums[numberCount+k.slot()])
	}
	if !bare {
		b = append(b, ')')
	}
	return b, ok
}

func appendItem(b []byte, k Key, item *Item) ([]byte, bool) {
	if k.Type() == TextListType {
		b = appendText(b, item.Text)
		if item.Range != "" {
			b = appendText(append(b, ";r="...), item.Range)
		}
		return b, true
	}
	b, ok := appendNumber(b, item.Number)
	if isParameterName(item.Type) {
		b = append(append(b, ';'), item.Type...)
	}
	return b, ok
}

// appendNumber appends n with at most three digits after the point (RFC 8941 §4.1.5).
func appendNumber(b []byte, n float64) ([]byte, bool) {
	switch {
	case n == math.Trunc(n) && math.Abs(n) < 1e15:
		return strconv.AppendInt(b, int64(n), 10), true
	case math.Abs(n) < 1e12:
		n = math.Round(n*1000) / 1000
		return strconv.AppendFloat(b, n+0, 'f', -1, 64), true // +0 makes -0 positive
	default:
		return b, false
	}
}

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			b = append(b, ' ')
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// writableCustom returns the custom keys that can be written, sorted.
func (v *Values) writableCustom() []CustomValue {
	if len(v.Custom) == 0 {
		return nil
	}
	custom := slices.Clone(v.Custom)
	custom = slices.DeleteFunc(custom, func(c CustomValue) bool { return !isCustom(c.Key) || c.Bare && !isBare(c.Value) })
	slices.SortStableFunc(custom, func(a, b CustomValue) int { return strings.Compare(a.Key, b.Key) })
	slices.Reverse(custom) // of several values for a key the last counts, as it does in decoding
	custom = slices.CompactFunc(custom, func(a, b CustomValue) bool { return a.Key == b.Key })
	slices.Reverse(custom)
	return custom
}

func appendCustom(b []byte, c CustomValue) []byte {
	b = append(b, c.Key...)
	switch {
	case !c.Bare:
		return appendText(append(b, '='), c.Value)
	case c.Value == "" || c.Value[0] == ';':
		return append(b, c.Value...)
	default:
		return append(append(b, '='), c.Value...)
	}
}
