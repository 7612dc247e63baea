package cmcd

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// anyValues makes values out of bytes: whatever a program could set.
func anyValues(data []byte) Values {
	next := func() byte {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return b
	}
	number := func() float64 {
		n := math.Float64frombits(uint64(next()) | uint64(next())<<56 | uint64(next())<<48 | uint64(next())<<40)
		if b := next(); b < 200 {
			n = float64(int(b)*int(next())*int(next())) / [...]float64{1, 10, 100, 1000}[b%4]
		}
		return n
	}
	text := func() string {
		n := min(int(next())%32, len(data))
		s := string(data[:n])
		data = data[n:]
		return s
	}
	var v Values
	if next()%2 == 1 {
		v.SetNumber(KeyV, 2)
	}
	for len(data) > 0 {
		k := Key(next() % byte(keyCount))
		switch k.Type() {
		case BoolType:
			v.SetBool(k, next()%2 == 1)
		case NumberType:
			if k != KeyV {
				v.SetNumber(k, number())
			}
		case TokenType, TextType:
			v.SetText(k, text())
			if k.Type() == TokenType && next()%2 == 1 {
				v.SetText(k, k.Tokens()[int(next())%len(k.Tokens())])
			}
		case NumberListType:
			items := make([]Item, next()%4)
			for i := range items {
				items[i] = Item{Number: number(), Type: objectTokens[int(next())%len(objectTokens)]}
				if next()%2 == 1 {
					items[i].Type = ""
				}
			}
			v.SetList(k, items...)
		case TextListType:
			items := make([]Item, next()%4)
			for i := range items {
				items[i] = Item{Text: text()}
				if k == KeyNOR && next()%2 == 1 {
					items[i].Range = text()
				}
			}
			v.SetList(k, items...)
		}
		if next()%8 == 0 {
			v.Custom = append(v.Custom, CustomValue{Key: "com.example-" + string('a'+rune(len(v.Custom)%26)), Value: text()})
			if len(v.Custom) == 26 {
				break
			}
		}
	}
	return v
}

// writable takes out of v what cannot be written, and brings into the form of the wire what is not: numbers of
// three decimals, printable text. It says once more, and in another way, what Append has to do.
func writable(v Values) Values {
	var w Values
	printable := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r // U+FFFD for each byte that is no UTF-8
		}, s)
	}
	round := func(n float64) (float64, bool) {
		if n == math.Trunc(n) {
			return n, math.Abs(n) < 1e15
		}
		return math.Round(n*1000)/1000 + 0, math.Abs(n) < 1e12
	}
	fits := func(k Key, n float64) bool { return n >= 0 || k == KeyLTC || k == KeyPR || k == KeyPT }
	for k := range v.Keys() {
		switch k.Type() {
		case BoolType:
			w.SetBool(k, v.Bool(k))
		case NumberType:
			n, _ := v.Number(k)
			if n, ok := round(n); ok && fits(k, n) {
				w.SetNumber(k, n)
			}
		case TextType:
			w.SetText(k, printable(v.Text(k)))
		case TokenType:
			if isToken(v.Text(k)) {
				w.SetText(k, v.Text(k))
			}
		case NumberListType:
			var items []Item
			for item := range v.Items(k) {
				var ok bool
				if item.Number, ok = round(item.Number); ok && fits(k, item.Number) {
					items = append(items, item)
				}
			}
			if len(items) > 0 || len(v.List(k)) == 0 {
				w.SetList(k, items...)
			}
		case TextListType:
			var items []Item
			for item := range v.Items(k) {
				items = append(items, Item{Text: printable(item.Text), Range: printable(item.Range)})
			}
			w.SetList(k, items...)
		}
	}
	for _, c := range v.Custom {
		w.Custom = append(w.Custom, CustomValue{Key: c.Key, Value: printable(c.Value)})
	}
	return w
}

// What is set, written and read again is what was set, in each of the ways to write it.
func FuzzWhatIsWrittenIsRead(f *testing.F) {
	f.Add([]byte{1, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17})
	f.Add([]byte("\x01\x0a\x05a\"\\b,\x00\x23\x04x=(;\x19\x02\x03a)b\x01\x020-\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v := anyValues(data)
		want := writable(v)
		if want.Len() == 0 && len(want.Custom) == 0 {
			return
		}
		for how, read := range map[string]func() (Values, bool){
			"record": func() (Values, bool) { got, err := Parse(v.String()); return got, err == nil },
			"query":  func() (Values, bool) { return FromRequest("a=1&"+v.Query(), nil) },
			"clone":  func() (Values, bool) { c := v.Clone(); got, err := Parse(c.String()); return got, err == nil },
		} {
			if got, ok := read(); !ok || !got.Equal(&want) {
				t.Errorf("%s: %q is read as %q, want %q", how, v.String(), got.String(), want.String())
			}
		}
		if !utf8.ValidString(v.String()) {
			t.Errorf("%q", v.String())
		}
		// In headers go the keys that have one.
		var sent Values
		for k := range want.Keys() {
			if k.Header(want.Version()) != NoHeader {
				sent.copyKey(&want, k)
			}
		}
		sent.Custom = want.Custom
		if got, ok := FromRequest("", v.Headers(nil)); ok != (sent.Len() > 0 || len(sent.Custom) > 0) || ok && !got.Equal(&sent) {
			t.Errorf("headers %v are read as %q, want %q", v.Headers(nil), got.String(), sent.String())
		}
	})
}
