package cmcd

import (
	"slices"
	"strings"
	"unsafe"
)

// quoted reads the string that begins at p.i. If it has no end, it is passed over up to the next
// comma, and ok is false.
func (p *parser) quoted(inList bool) (text string, ok bool) {
	start := p.i + 1
	end, escaped := p.pass(inList)
	if end < 0 {
		return "", false
	}
	text = p.s[start:end]
	if escaped {
		text = p.unescape(start, end)
	}
	return p.tabless(text), true
}

func (p *parser) tabless(s string) string {
	if strings.IndexByte(s, '\t') < 0 {
		return s
	}
	p.warn(WarnCharacter)
	return strings.ReplaceAll(s, "\t", " ")
}

// pass goes over the string that begins at p.i, and returns where it ends.
func (p *parser) pass(inList bool) (end int, escaped bool) {
	end, escaped = p.closing(p.i+1, inList)
	if end < 0 {
		p.warn(WarnBadValue)
		p.resync()
		return -1, false
	}
	p.i = end + 1
	return end, escaped
}

// closing returns where the string that begins at start ends, -1 if nowhere. As some players do
// not escape quotes, a quote is surely the end only if what comes after it can come after a string;
// if there is none of that sort, a quote before a comma will do. What one search has found out
// about the rest of the record is kept for the next, so that all of them together are linear.
func (p *parser) closing(start int, inList bool) (end int, escaped bool) {
	where := 0
	if inList {
		where = 1
	}
	if p.noClosing[where] {
		return -1, false
	}
	possible := -1
	for i := start; i < len(p.s); i++ {
		switch p.s[i] {
		case '\\':
			escaped = true
			if i+1 < len(p.s) && (p.s[i+1] == '"' || p.s[i+1] == '\\') {
				i++
			} else {
				p.warn(WarnQuote)
			}
		case '"':
			sure, maybe := p.follows(i+1, inList)
			if sure || maybe && p.noSure[where] {
				return i, escaped
			}
			if maybe && possible < 0 {
				possible = i
			}
			p.warn(WarnQuote)
		}
	}
	if possible < 0 {
		p.noClosing[where] = true
	} else {
		p.noSure[where] = true
	}
	return possible, escaped
}

// follows judges the text behind a quote: it may follow a string for sure, or maybe, or not.
func (p *parser) follows(i int, inList bool) (sure, maybe bool) {
	if i == len(p.s) {
		return true, true
	}
	if inList {
		c := p.s[i]
		if c == ',' { // in place of a space, if another string begins behind it
			next := trimLeft(p.s[i+1:])
			return next != "" && next[0] == '"', true
		}
		return c == ')' || c == ';' || c == ' ', false
	}
	if p.s[i] == ';' { // a parameter, or only a semicolon in a text?
		name := trimLeft(p.s[i+1:])
		n := 0
		for n < len(name) && classes[name[n]]&keyByte != 0 {
			n++
		}
		rest := trimLeft(name[n:])
		return n > 0 && (rest == "" || rest[0] == ',' || len(rest) == len(name)-n && (rest[0] == '=' || rest[0] == ';')), true
	}
	for i < len(p.s) && (p.s[i] == ' ' || p.s[i] == '\t') {
		i++
	}
	if i == len(p.s) {
		return true, true
	}
	if p.s[i] != ',' {
		return false, false
	}
	i++
	for i < len(p.s) && (p.s[i] == ' ' || p.s[i] == '\t') {
		i++
	}
	if i == len(p.s) || p.s[i] == ',' {
		return true, true
	}
	if !isAlnum(p.s[i]) && p.s[i] != '*' {
		return false, true
	}
	for i < len(p.s) && classes[p.s[i]]&keyByte != 0 {
		i++
	}
	for i < len(p.s) && (p.s[i] == ' ' || p.s[i] == '\t') {
		i++
	}
	return i == len(p.s) || p.s[i] == ',' || p.s[i] == ';' || p.s[i] == '=' && valueBegins(p.s, i+1), true
}

// valueBegins reports whether what stands at i can be the value of a key: a string, a list, or something without
// a quote in it up to where it ends. It cannot if the equals sign in front of i is still part of a text, as in
// cid="a "b",c=d".
func valueBegins(s string, i int) bool {
	if i < len(s) && (s[i] == '"' || s[i] == '(') {
		return true
	}
	for i < len(s) && s[i] != ',' && s[i] != ';' {
		if s[i] == '"' {
			return false
		}
		i++
	}
	return true
}

// unescape returns p.s[start:end] with \" and \\ resolved; any other backslash stands for itself. Where
// the memory of s is the parser's own, the text is written over what it is made from.
func (p *parser) unescape(start, end int) string {
	s := p.s[start:end]
	var b []byte
	if p.owned != nil {
		b = p.owned[start:start]
	} else {
		b = p.room(len(s))
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\') {
			i++
		}
		b = append(b, s[i])
	}
	if p.owned == nil {
		return p.taken(b)
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// room returns memory for n bytes. What is written to it is kept by taken.
func (p *parser) room(n int) []byte {
	if cap(p.scratch)-len(p.scratch) < n { // what lies in the old memory stays there
		p.scratch = make([]byte, 0, max(n, min(2*cap(p.scratch), maxMemory)))
	}
	return p.scratch[len(p.scratch):]
}

func (p *parser) taken(b []byte) string {
	p.scratch = p.scratch[:len(p.scratch)+len(b)]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// scalar reads the value of key k, which is no list.
func (p *parser) scalar(k Key) value {
	if p.i < len(p.s) && p.s[p.i] == '"' {
		text, ok := p.quoted(false)
		if !ok {
			return value{}
		}
		return value{Item: Item{Text: text}, kind: quoted}
	}
	start := p.i
	text := k.Type() == TextType || k.Type() == TextListType
	for p.i < len(p.s) && p.s[p.i] != ',' && (text || p.s[p.i] != ';') {
		p.i++
	}
	return p.classify(p.tabless(trimRight(p.s[start:p.i])))
}

func trimLeft(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	return s
}

func trimRight(s string) string {
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

func (p *parser) classify(s string) value {
	v := value{Item: Item{Text: s}}
	switch {
	case s == "":
	case s[0] == '-' || s[0] >= '0' && s[0] <= '9':
		var ok bool
		if v.Number, v.decimal, ok = p.number(s); ok {
			v.kind = number
		}
	case s == "?1" || s == "?0":
		v.kind, v.flag = boolean, s == "?1"
	case isToken(s):
		v.kind = word
	}
	return v
}

// isToken reports whether s is a token (RFC 8941 §3.3.4).
func isToken(s string) bool {
	if s == "" || s[0] != '*' && (s[0]|0x20 < 'a' || s[0]|0x20 > 'z') {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isAlnum(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~:/", s[i]) < 0 {
			return false
		}
	}
	return true
}

// number reads an integer of up to 15 digits or a decimal (RFC 8941 §3.3.1 and §3.3.2). Digits
// that a decimal cannot have are rounded away.
func (p *parser) number(s string) (n float64, decimal, ok bool) {
	negative := s[0] == '-'
	if negative {
		s = s[1:]
	}
	var mantissa int64
	i := 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		if i == 15 {
			return 0, false, false
		}
		mantissa = mantissa*10 + int64(s[i]-'0')
	}
	digits := i
	if digits == 0 {
		return 0, false, false
	}
	scale := 1.0
	if i < len(s) {
		if s[i] != '.' || i+1 == len(s) {
			return 0, false, false
		}
		fraction := s[i+1:]
		keep := 3
		if digits > 12 {
			keep = 0
		}
		for j := 0; j < len(fraction); j++ {
			c := fraction[j]
			if c < '0' || c > '9' {
				return 0, false, false
			}
			switch {
			case j < keep:
				mantissa = mantissa*10 + int64(c-'0')
				scale *= 10
			case j == keep:
				p.warn(WarnDecimal)
				if c >= '5' {
					mantissa++
				}
			}
		}
		decimal = true
	}
	// Both are exact, so the quotient is the float that is nearest to the decimal.
	n = float64(mantissa) / scale
	if n >= 1e15 {
		return 0, false, false
	}
	if negative && n != 0 {
		n = -n
	}
	return n, decimal, true
}

// list reads the inner list that begins at p.i, for key k.
func (p *parser) list(k Key) {
	listKey := k.Type() == NumberListType || k.Type() == TextListType
	p.i++
	numbers, list := len(p.v.numbers), len(p.v.strings)
	var first value
	count, bad := 0, false
	for {
		from := p.i
		p.space()
		if strings.IndexByte(p.s[from:p.i], '\t') >= 0 {
			p.warn(WarnSpace)
		}
		if p.i == len(p.s) {
			p.warn(WarnBadValue) // cut off: the last item may be half of one
			p.v.numbers, p.v.strings = p.v.numbers[:numbers], p.v.strings[:list]
			return
		}
		switch p.s[p.i] {
		case ')':
			p.i++
			switch {
			case !listKey && count > 0:
				p.warn(WarnList)
				p.set(k, first)
			case !listKey:
				p.warn(WarnBadValue)
			case count > 0 || !bad: // or else nothing is left of it
				p.setList(k, first, count, numbers, list)
			}
			return
		case ',':
			// A comma in place of a space, or the end of a list that was not closed?
			comma := p.i
			p.i++
			p.space()
			if p.i < len(p.s) && strings.IndexByte(`-"0123456789),`, p.s[p.i]) < 0 {
				p.warn(WarnBadValue)
				p.v.numbers, p.v.strings = p.v.numbers[:numbers], p.v.strings[:list]
				p.i = comma
				return
			}
			p.warn(WarnComma)
			continue
		}
		item := p.item()
		if listKey && !p.fit(k, &item) || item.kind == other {
			p.warn(WarnBadValue)
			bad = true
			continue
		}
		if count++; count == 1 {
			first = item
		} else if listKey {
			if count == 2 {
				p.add(k, first)
			}
			p.add(k, item)
		}
	}
}

// setList gives k the list of count items that begins in numbers or in strings. The first waits for the
// second, because a list of one needs no memory.
func (p *parser) setList(k Key, first value, count, numbers, list int) {
	p.mark(k)
	p.lists |= 1 << k
	if count == 1 && first.Type == "" && first.Range == "" {
		p.v.setSingle(k, first.Number, first.Text)
		return
	}
	if count == 1 {
		p.add(k, first)
	}
	p.v.has |= 1 << k
	p.v.single &^= 1 << k
	if k.Type() == TextListType {
		p.v.spans[k.slot()] = span{uint32(list), uint32(len(p.v.strings))}
	} else {
		p.v.spans[k.slot()] = span{uint32(numbers), uint32(len(p.v.numbers))}
	}
}

// add keeps an item of a list with several.
func (p *parser) add(k Key, item value) {
	switch {
	case len(p.v.numbers)+len(p.v.strings) >= maxItems:
		p.warn(WarnTooMany)
	case k.Type() == TextListType:
		if len(p.v.strings) == cap(p.v.strings) {
			rest := p.s[p.i:]
			p.v.strings = slices.Grow(p.v.strings, max(strings.Count(rest, `"`)/2, separators(rest, true)))
		}
		p.v.strings = append(p.v.strings, stringItem{item.Text, item.Range})
	default:
		if len(p.v.numbers) == cap(p.v.numbers) {
			p.v.numbers = slices.Grow(p.v.numbers, separators(p.s[p.i:], true))
		}
		p.v.numbers = append(p.v.numbers, numberItem{item.Number, item.Type})
	}
}

// item reads one item of a list with its parameters.
func (p *parser) item() value {
	var v value
	if p.s[p.i] == '"' {
		text, ok := p.quoted(true)
		if ok {
			v = value{Item: Item{Text: text}, kind: quoted}
		}
	} else {
		v = p.classify(p.listWord())
	}
	for p.i < len(p.s) && p.s[p.i] == ';' {
		p.i++
		p.parameter(&v.Item)
	}
	return v
}

// listWord reads up to the end of a word in a list; at least one byte, so that it gets on.
func (p *parser) listWord() string {
	start := p.i
	for p.i < len(p.s) && strings.IndexByte(" \t),;", p.s[p.i]) < 0 {
		p.i++
	}
	return p.s[start:p.i]
}

// parameter reads one parameter of a list item: an object type (§4.1), or the range of a nor item.
func (p *parser) parameter(item *Item) {
	p.space()
	start := p.i
	for p.i < len(p.s) && classes[p.s[p.i]]&keyByte != 0 {
		p.i++
	}
	name := p.s[start:p.i]
	if p.i == len(p.s) || p.s[p.i] != '=' {
		switch {
		case name == "" || item.Type != "":
			p.warn(WarnParameter)
		default:
			p.setType(item, name)
		}
		return
	}
	p.i++
	var value string
	isString := p.i < len(p.s) && p.s[p.i] == '"'
	if isString {
		value, _ = p.quoted(true)
	} else {
		value = p.listWord()
	}
	switch {
	case name == "r" && value != "":
		if !isString {
			p.warn(WarnUnquoted)
		}
		item.Range = value
	case name == "ot" && isToken(value): // seen in place of the bare parameter
		p.warn(WarnParameter)
		p.setType(item, value)
	case value == "?1" && !isString && name != "":
		p.setType(item, name)
	default:
		p.warn(WarnParameter)
	}
}

func (p *parser) setType(item *Item, name string) {
	if !isParameterName(name) {
		p.warn(WarnParameter)
		return
	}
	if !knownToken(KeyOT, name) {
		p.warn(WarnUnknownToken)
	}
	item.Type = name
}

// isParameterName reports whether s may be written as a parameter (RFC 8941 §3.1.2).
func isParameterName(s string) bool {
	if s == "" || s[0] != '*' && (s[0] < 'a' || s[0] > 'z') {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("_-.*", c) < 0 {
			return false
		}
	}
	return true
}
