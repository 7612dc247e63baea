package validate

import (
	"strings"
	"unicode/utf8"
)

// isArgument reports whether an argument of a query is meant to be that of CMCD.
func isArgument(argument string) bool {
	name, _, _ := strings.Cut(argument, "=")
	return strings.EqualFold(name, "CMCD")
}

func hasArgument(rawQuery string) bool {
	for argument := range strings.SplitSeq(rawQuery, "&") {
		if isArgument(argument) {
			return true
		}
	}
	return false
}

// query checks the CMCD arguments; false if there is none.
func (c *checker) query(rawQuery string) bool {
	found := 0
	for argument := range strings.SplitSeq(rawQuery, "&") {
		if !isArgument(argument) || c.full() {
			continue
		}
		found++
		c.version = 0
		if found == 2 {
			c.add(ruleRepeated, "", "the query has several CMCD arguments, expected one")
		}
		name, value, _ := strings.Cut(argument, "=")
		if name != "CMCD" {
			c.add(ruleArgument, "", "the argument is called %s, expected CMCD", short(name))
		}
		c.text(c.percentDecode(value))
	}
	return found > 0
}

// percentDecode undoes the encoding of forms, in which a space is + or %20.
func (c *checker) percentDecode(s string) string {
	if raw := strings.IndexFunc(s, needsEncoding); raw >= 0 {
		c.add(ruleEncoding, "", "%s at byte %d of the argument is not percent-encoded, expected the whole record encoded",
			short(firstRune(s[raw:])), raw)
	}
	decoded, bad := unescape(s, true)
	if bad >= 0 {
		c.add(ruleEncoding, "", "%s at byte %d of the argument is no escape, expected a percent sign and two hexadecimal digits",
			short(s[bad:min(bad+3, len(s))]), bad)
	}
	return decoded
}

func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

// needsEncoding says which characters cannot stand for themselves. Those that encodeURIComponent
// and the encoding of forms leave alone can.
func needsEncoding(r rune) bool {
	return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && (r >= 0x7f || strings.IndexByte("-_.~!*'()+%", byte(r)) < 0)
}

// unescape replaces the escapes in s. The offset of the first percent sign that begins none is bad,
// else -1.
func unescape(s string, plusIsSpace bool) (unescaped string, bad int) {
	b := make([]byte, 0, len(s))
	bad = -1
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+' && plusIsSpace:
			b = append(b, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			if c == '%' && bad < 0 {
				bad = i
			}
			b = append(b, c)
		}
	}
	return string(b), bad
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// encodedTwice notes that a record is percent-encoded where it should not be (any more), and returns it
// without that, so that what else is wrong with it is found too. A record is taken for encoded
// if it is none as it stands, but becomes one.
func (c *checker) encodedTwice(record string) string {
	if !strings.Contains(record, "%") || strings.ContainsAny(record, `=,"`) {
		return record
	}
	decoded, _ := unescape(record, true)
	if !strings.ContainsAny(decoded, `=,"`) {
		return record
	}
	c.parser.Reset()
	if _, errs := c.parser.Dictionary(record); len(errs) == 0 {
		return record
	}
	c.add(ruleEncoding, "", "the record is percent-encoded once too often: it begins with %s", short(record))
	return decoded
}
