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
// that is of use. The names in h are in canonical form, as [http.Header.Set] and servers write them.
func FromRequest(rawQuery string, h http.Header) (Values, bool) {
	var d Decoder
	v, ok := d.FromRequest(rawQuery, h)
	if !ok {
		return Values{}, false
	}
	return v.owned(), true
}

// FromRequest is [FromRequest] without allocations.
func (d *Decoder) FromRequest(rawQuery string, h http.Header) (*Values, bool) {
	d.p.reset()
	headers := false
	for _, name := range headerNames {
		for _, record := range h[name] {
			if trimLeft(record) != "" {
				headers = true
				d.p.record(record)
			}
		}
	}
	if headers {
		if d.p.finish() != nil {
			return nil, false
		}
		if _, _, ok := nextArgument(rawQuery, 0); ok {
			d.p.warn(WarnQueryIgnored)
		}
		return &d.p.v, true
	}
	start, end, ok := nextArgument(rawQuery, 0)
	if !ok {
		return nil, false
	}
	_, _, repeated := nextArgument(rawQuery, end)
	if repeated {
		start, end, _ = lastArgument(rawQuery, len(rawQuery))
	}
	for ok {
		d.p.reset()
		d.decode(argumentValue(rawQuery[start:end]))
		if d.p.finish() == nil {
			if repeated {
				d.p.warn(WarnRepeated)
			}
			return &d.p.v, true
		}
		start, end, ok = lastArgument(rawQuery, start)
	}
	return nil, false
}

// decode adds the value of a query argument to the record.
func (d *Decoder) decode(value string) {
	if cap(d.memory) > maxMemory || cap(d.memory) < len(value) {
		d.memory = make([]byte, len(value))
	}
	b := d.memory[:len(value)]
	n, broken := percentDecode(b, value)
	for i := 1; i < d.PercentDecodings && encoded(b[:n]); i++ {
		n, broken = percentDecode(b, unsafe.String(unsafe.SliceData(b), n))
	}
	if broken {
		d.p.warn(WarnPercent)
	}
	d.p.owned = b[:n]
	d.p.record(unsafe.String(unsafe.SliceData(b), n))
}

// encoded reports whether a record is still percent-encoded: escapes stand nowhere in a record but in
// its strings.
func encoded(b []byte) bool {
	for i, c := range b {
		switch {
		case c == '"':
			return false
		case c == '%' && i+2 < len(b) && unhex[b[i+1]] < 16 && unhex[b[i+2]] < 16:
			return true
		}
	}
	return false
}

// StripQuery returns rawQuery without its CMCD arguments, and all else byte for byte. A cache uses
// it, because every viewer's CMCD is another one (§6).
func StripQuery(rawQuery string) string {
	start, end, ok := nextArgument(rawQuery, 0)
	if !ok {
		return rawQuery
	}
	if _, _, more := nextArgument(rawQuery, end); !more {
		switch { // what is left lies in one piece
		case end == len(rawQuery):
			return rawQuery[:max(start-1, 0)]
		case start == 0:
			return rawQuery[end+1:]
		}
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

// lastArgument returns where the last CMCD argument of query[:end] begins and ends.
func lastArgument(query string, end int) (start, stop int, ok bool) {
	for {
		n := strings.LastIndex(query[:end], "CMCD")
		if n < 0 {
			return 0, 0, false
		}
		end = n
		after := n + len("CMCD")
		if n > 0 && query[n-1] != '&' || after < len(query) && query[after] != '=' && query[after] != '&' {
			continue
		}
		stop = len(query)
		if n := strings.IndexByte(query[after:], '&'); n >= 0 {
			stop = after + n
		}
		return n, stop, true
	}
}

func argumentValue(argument string) string {
	_, value, _ := strings.Cut(argument, "=")
	return value
}

// percentDecode undoes the encoding of forms: players write a space as + or as %20. It writes to b, which
// is at least as long as s and may be its memory, and returns how much. A percent sign that begins no
// escape is broken, and stays.
func percentDecode(b []byte, s string) (n int, broken bool) {
	for i := 0; i < len(s) && n < len(b); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 < len(s) && unhex[s[i+1]] < 16 && unhex[s[i+2]] < 16 {
				c = unhex[s[i+1]]<<4 | unhex[s[i+2]]
				i += 2
			} else {
				broken = true
			}
		}
		b[n] = c
		n++
	}
	return n, broken
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
