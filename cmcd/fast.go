package cmcd

import (
	"slices"
	"strings"
)

// What a byte can be part of.
const (
	textByte  uint8 = 1 << iota // a string, as it stands: printable ASCII but for quote and backslash
	keyByte                     // a key or a parameter
	plainByte                   // printable ASCII
)

var classes = func() (table [256]uint8) {
	for c := range table {
		switch b := byte(c); {
		case b < ' ' || b > '~':
		case b == '"' || b == '\\':
			table[c] = plainByte
		case isAlnum(b) || b == '_' || b == '-' || b == '.' || b == '*':
			table[c] = plainByte | textByte | keyByte
		default:
			table[c] = plainByte | textByte
		}
	}
	return table
}()

// fast reads members for as long as they are well-formed, which is nearly always to the end of the
// record. It accepts nothing that member would read in another way. The result is false if p.i is at
// the beginning of a member that it leaves to member; true if p.i is behind a member.
func (p *parser) fast() bool {
	s, v := p.s, &p.v
	for i := p.i; ; i++ {
		p.i = i
		var packed uint64
		for i < len(s) && s[i]-'a' < 26 {
			packed = packed<<8 | uint64(s[i])
			i++
		}
		if i-p.i > maxKeyLength {
			return false
		}
		k, ok := lookupPacked(packed)
		if !ok || v.has&(1<<k) != 0 {
			return false
		}
		info := &keyTable[k]
		if i == len(s) || s[i] == ',' {
			if info.typ != BoolType {
				return false
			}
			v.flags |= 1 << k
		} else {
			if s[i] != '=' {
				return false
			}
			if i = p.fastValue(k, info, i+1); i < 0 {
				return false
			}
		}
		v.has |= 1 << k
		if i+1 >= len(s) || s[i+1]-'a' >= 26 {
			p.i = i
			return true
		}
	}
}

// fastValue reads the value of k at i, and returns the place of the comma or the end behind it; -1 if
// the value is not well-formed, and then nothing has changed.
func (p *parser) fastValue(k Key, info *keyInfo, i int) int {
	s, v := p.s, &p.v
	if i == len(s) {
		return -1
	}
	switch info.typ {
	case NumberType:
		n, decimal, end := fastNumber(s, i)
		if end < 0 || !memberEnds(s, end) || decimal && k != KeyPR || k == KeyV && n < 1 {
			return -1
		}
		v.nums[info.index] = n
		return end
	case TokenType:
		var packed uint32
		end := i
		for end < len(s) && s[end]-'a' < 26 && end-i < 4 {
			packed = packed<<8 | uint32(s[end])
			end++
		}
		token := tokenIndex[k-KeyE].find(packed)
		if token == "" || !memberEnds(s, end) {
			return -1
		}
		v.texts[info.index] = token
		return end
	case TextType:
		end, escaped := fastText(s, i)
		if end < 0 || !nextMember(s, end+1) {
			return -1
		}
		if escaped {
			v.texts[info.index] = p.unescape(i+1, end)
		} else {
			v.texts[info.index] = s[i+1 : end]
		}
		return end + 1
	case NumberListType:
		if s[i] == '(' {
			return p.fastList(k, info, i)
		}
		n, decimal, end := fastNumber(s, i)
		if end < 0 || !memberEnds(s, end) {
			return -1
		}
		p.decimal(decimal)
		v.nums[numberCount+info.index] = n
		v.single |= 1 << k
		p.scalars |= 1 << k
		return end
	case TextListType:
		list := s[i] == '('
		if list {
			i++
		}
		end, escaped := fastText(s, i)
		if end < 0 || escaped || list && (end+1 == len(s) || s[end+1] != ')') {
			return -1
		}
		after := end + 1
		if list {
			after++
		}
		if list && !memberEnds(s, after) || !list && !nextMember(s, after) {
			return -1
		}
		v.texts[k.singleText()] = s[i+1 : end]
		v.single |= 1 << k
		p.listed(k, list)
		return after
	default:
		return -1
	}
}

func (p *parser) decimal(is bool) {
	if is {
		p.warn(WarnDecimal)
	}
}

// listed notes whether list key k came as a list.
func (p *parser) listed(k Key, list bool) {
	if list {
		p.lists |= 1 << k
	} else {
		p.scalars |= 1 << k
	}
}

func memberEnds(s string, i int) bool { return i == len(s) || s[i] == ',' }

// nextMember reports whether the record ends at i, or a comma stands there and behind it what can only be
// another member: so that a quote in front of i is surely the end of a string.
func nextMember(s string, i int) bool {
	if i == len(s) {
		return true
	}
	if s[i] != ',' {
		return false
	}
	start := i + 1
	i = start
	for i < len(s) && classes[s[i]]&keyByte != 0 {
		i++
	}
	return i > start && (i == len(s) || s[i] == ',' || s[i] == '=' && valueBegins(s, i+1)) && (isAlnum(s[start]) || s[start] == '*')
}

// fastText returns the place of the quote that ends the string at i, and whether there are escapes in it; -1
// if there is no such thing, or if there is anything else in it but plain text.
func fastText(s string, i int) (end int, escaped bool) {
	if i >= len(s) || s[i] != '"' {
		return -1, false
	}
	i++
	for i < len(s) {
		switch {
		case classes[s[i]]&textByte != 0:
			i++
		case s[i] == '"':
			return i, escaped
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			escaped = true
			i += 2
		default:
			return -1, false
		}
	}
	return -1, false
}

// fastNumber reads an unsigned number at i; end is -1 if there is none, or one that must be rounded.
func fastNumber(s string, i int) (n float64, decimal bool, end int) {
	start := i
	var mantissa int64
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		mantissa = mantissa*10 + int64(s[i]-'0')
		if i-start == 15 {
			return 0, false, -1
		}
	}
	if i == start {
		return 0, false, -1
	}
	if i == len(s) || s[i] != '.' {
		return float64(mantissa), false, i
	}
	i++
	fraction := i
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		mantissa = mantissa*10 + int64(s[i]-'0')
		if i-fraction == 3 {
			return 0, false, -1
		}
	}
	if i == fraction || fraction-start > 13 {
		return 0, false, -1
	}
	return float64(mantissa) / [...]float64{1, 10, 100, 1000}[i-fraction], true, i
}

// fastList reads the list of numbers at i.
func (p *parser) fastList(k Key, info *keyInfo, i int) int {
	s, v := p.s, &p.v
	first := len(v.numbers)
	decimals := false
	for {
		n, decimal, end := fastNumber(s, i+1)
		if end < 0 || end == len(s) {
			break
		}
		decimals = decimals || decimal
		var objectType string
		i = end
		if s[i] == ';' {
			var packed uint32
			for i++; i < len(s) && s[i]-'a' < 26 && i-end < 4; i++ {
				packed = packed<<8 | uint32(s[i])
			}
			if objectType = tokenIndex[KeyOT-KeyE].find(packed); objectType == "" || i == len(s) {
				break
			}
		}
		if s[i] == ')' && memberEnds(s, i+1) {
			if len(v.numbers)+len(v.strings) >= maxItems {
				break
			}
			if objectType == "" && len(v.numbers) == first {
				v.nums[numberCount+info.index] = n
				v.single |= 1 << k
			} else {
				v.numbers = append(v.numbers, numberItem{n, objectType})
				v.spans[info.index] = span{uint32(first), uint32(len(v.numbers))}
			}
			p.lists |= 1 << k
			p.decimal(decimals)
			return i + 1
		}
		if s[i] != ' ' || len(v.numbers)+len(v.strings)+1 >= maxItems {
			break
		}
		if len(v.numbers) == cap(v.numbers) {
			v.numbers = slices.Grow(v.numbers, separators(s[i:], false))
		}
		v.numbers = append(v.numbers, numberItem{n, objectType})
	}
	v.numbers = v.numbers[:first]
	return -1
}

// separators returns about how many items the lists in the rest of a record have: one more than there are
// spaces, or also commas, between them.
func separators(rest string, commas bool) int {
	n := strings.Count(rest, " ") + strings.Count(rest, "(")
	if commas {
		n += strings.Count(rest, ",")
	}
	return min(n, len(rest)/2, maxItems) + 2
}

// tokens finds the tokens of a key by their packed name.
type tokens struct {
	packed []uint32
	names  []string
}

func (t *tokens) find(packed uint32) string {
	for i, p := range t.packed {
		if p == packed {
			return t.names[i]
		}
	}
	return ""
}

// tokenIndex has the tokens of key KeyE+i at i.
var tokenIndex = func() (index [KeySTA - KeyE + 1]tokens) {
	for i := range index {
		for _, name := range (KeyE + Key(i)).tokens() {
			index[i].packed = append(index[i].packed, uint32(pack(name)))
			index[i].names = append(index[i].names, name)
		}
	}
	return index
}()
