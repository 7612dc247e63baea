package collector

import "bytes"

// blanks are what may stand around a record and means nothing.
const blanks = " \t\r"

// splitter takes a body apart.
type splitter struct {
	data []byte
	// json says that the body holds JSON objects, and array that they are in an array; else they come
	// one after another, mostly one a line.
	json, array bool
	// limit is how long an object may be that is not in an array. Without it, a body of lines that
	// each begin an object and do not end it would take time by the square of its length.
	limit int
}

func newSplitter(b *batch, limit int) *splitter {
	s := &splitter{data: bytes.TrimPrefix(b.data, byteOrderMark), json: b.isJSON(), limit: limit}
	if s.json {
		s.skip(blanks + "\n")
		if len(s.data) > 0 && s.data[0] == '[' {
			s.data, s.array = s.data[1:], true
		}
	}
	return s
}

// next returns the next record, and ok = false if there is none. It is broken if it cannot be an
// object of JSON, and unfinished if moreover the body ends with it.
func (s *splitter) next() (raw []byte, broken, unfinished, ok bool) {
	if s.json {
		return s.nextObject()
	}
	for len(s.data) > 0 {
		raw, s.data, _ = bytes.Cut(s.data, []byte("\n"))
		if raw = bytes.Trim(raw, blanks); len(raw) > 0 {
			return raw, false, false, true
		}
	}
	return nil, false, false, false
}

func (s *splitter) nextObject() (raw []byte, broken, unfinished, ok bool) {
	s.skip(blanks + "\n,")
	if s.array && len(s.data) > 0 && s.data[0] == ']' {
		s.data, s.array = s.data[1:], false
		s.skip(blanks + "\n,")
	}
	if len(s.data) == 0 {
		return nil, false, false, false
	}
	if s.array && s.data[0] == '[' { // an element that is no object, whatever is in it
		if n := s.object(); n > 0 {
			return s.take(n), true, false, true
		}
		return s.take(len(s.data)), true, true, true
	}
	if s.data[0] != '{' {
		ends := ",\n"
		if s.array {
			ends = ",]"
		}
		if n := bytes.IndexAny(s.data, ends); n > 0 {
			return s.take(n), true, false, true
		}
		return s.take(len(s.data)), true, true, true
	}
	if n := s.object(); n > 0 {
		return s.take(n), false, false, true
	}
	if n := bytes.IndexByte(s.data, '\n'); n > 0 && !s.array {
		return s.take(n), true, false, true
	}
	return s.take(len(s.data)), true, true, true
}

func (s *splitter) skip(space string) { s.data = bytes.TrimLeft(s.data, space) }

func (s *splitter) take(n int) []byte {
	raw := bytes.Trim(s.data[:n], blanks)
	s.data = s.data[n:]
	return raw
}

// object returns the length of the object or array that data begins with, 0 if it does not end.
func (s *splitter) object() int {
	depth, quoted := 0, false
	for i := 0; i < len(s.data); i++ {
		if !s.array && i > s.limit {
			return 0
		}
		switch c := s.data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted && c == '\n' && !s.array: // no string goes over a line's end: it is broken
			return 0
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// rest returns how many records may be left.
func (s *splitter) rest() (n int) {
	for ; s.json && s.array; n++ {
		if _, _, _, ok := s.next(); !ok {
			return n
		}
	}
	var lines lineCounter
	lines.add(s.data)
	return n + lines.n
}
