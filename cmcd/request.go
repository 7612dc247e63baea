package cmcd

import (
	"net/http"
	"strings"
	"unsafe"
)

// The headers of CMCD (§3.1), in the canonical form of net/http.
var headerNames = [...]string{"Cmcd-Object", "Cmcd-Request", "Cmcd-Session", "Cmcd-Status"}

// FromRequest decodes what an HTTP request carries: its CMCD headers, else the CMCD argument of
// its query. If a header is present the query is ignored, whatever they say (§6). Of several
// arguments the last good one is taken. The result is false if the request has no CMCD, or none
// that is of use.
func FromRequest(rawQuery string, h http.Header) (Values, bool) {
	var p parser
	headers := false
	for _, name := range headerNames {
		for _, record := range h[name] {
			if record != "" {
				headers = true
				p.record(record)
			}
		}
	}
	if headers {
		if p.finish() != nil {
			return Values{}, false
		}
		if _, _, ok := nextArgument(rawQuery, 0); ok {
			p.warn(WarnQueryIgnored)
		}
		return p.v, true
	}

	var last Values
	found := false
	for start, end, ok := nextArgument(rawQuery, 0); ok; start, end, ok = nextArgument(rawQuery, end) {
		p = parser{}
		p.record(p.percentDecode(argumentValue(rawQuery[start:end])))
		if p.finish() != nil {
			continue
		}
		if found {
			p.warn(WarnRepeated)
		}
		last, found = p.v, true
	}
	return last, found
}

// StripQuery returns rawQuery without its CMCD arguments, and all else byte for byte. A cache uses
// it, because every viewer's CMCD is another one (§6).
func StripQuery(rawQuery string) string {
	start, end, ok := nextArgument(rawQuery, 0)
	if !ok {
		return rawQuery
	}
	kept := make([]byte, 0, len(rawQuery))
	from := 0
	for ; ok; start, end, ok = nextArgument(rawQuery, end) {
		kept = append(kept, rawQuery[from:start]...)
		from = end
		if end < len(rawQuery) {
			from = end + 1 // the argument goes with the & behind it
		} else if len(kept) > 0 {
			kept = kept[:len(kept)-1] // or, at the end, with the one in front
		}
	}
	return string(append(kept, rawQuery[from:]...))
}

// nextArgument returns where the first CMCD argument of the query at or after from begins and ends.
func nextArgument(query string, from int) (start, end int, ok bool) {
	for {
		n := strings.Index(query[from:], "CMCD")
		if n < 0 {
			return 0, 0, false
		}
		start = from + n
		from = start + len("CMCD")
		if start > 0 && query[start-1] != '&' || from < len(query) && query[from] != '=' && query[from] != '&' {
			continue
		}
		end = len(query)
		if n := strings.IndexByte(query[from:], '&'); n >= 0 {
			end = from + n
		}
		return start, end, true
	}
}

func argumentValue(argument string) string {
	_, value, _ := strings.Cut(argument, "=")
	return value
}

// percentDecode undoes the encoding of forms: players write a space as + or as %20.
func (p *parser) percentDecode(s string) string {
	i := 0
	for i < len(s) && s[i] != '%' && s[i] != '+' {
		i++
	}
	if i == len(s) {
		return s
	}
	b := make([]byte, len(s))
	w := copy(b, s[:i])
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c != '%':
		case i+2 < len(s) && unhex[s[i+1]] < 16 && unhex[s[i+2]] < 16:
			c = unhex[s[i+1]]<<4 | unhex[s[i+2]]
			i += 2
		default:
			p.warn(WarnPercent)
		}
		b[w] = c
		w++
	}
	// b is not written to any more, so it can serve as the string's memory.
	return unsafe.String(unsafe.SliceData(b), w)
}

// unhex has the value of every hexadecimal digit, and 255 for any other byte.
var unhex = func() (table [256]byte) {
	for c := range table {
		switch {
		case c >= '0' && c <= '9':
			table[c] = byte(c - '0')
		case c >= 'a' && c <= 'f':
			table[c] = byte(c - 'a' + 10)
		case c >= 'A' && c <= 'F':
			table[c] = byte(c - 'A' + 10)
		default:
			table[c] = 255
		}
	}
	return table
}()
