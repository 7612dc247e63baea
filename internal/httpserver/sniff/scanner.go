package sniff

import "math"

// Reason is why a request was refused: a label for metrics.
type Reason string

// The reasons.
const (
	BadRequestLine Reason = "request-line"
	BadField       Reason = "field"
	BareLineEnd    Reason = "line-end"
	FoldedField    Reason = "folded-field"
	BadLength      Reason = "content-length"
	BadCoding      Reason = "transfer-encoding"
	TwoFramings    Reason = "length-and-coding"
	BadHost        Reason = "host"
	BadChunk       Reason = "chunk"
	BadTrailer     Reason = "trailer"
)

// state is what the next byte belongs to.
type state uint8

const (
	method state = iota
	target
	version
	requestLineLF
	fieldStart // the first byte of a line of the head or the trailer
	fieldName
	fieldSpace // before a value
	fieldValue
	fieldLF
	headLF // the LF that ends the head or the trailer
	body   // bytes of known number
	chunkSize
	chunkExtension
	chunkSizeLF
	chunkData
	chunkCR
	chunkLF
)

// field is a name that means something to the framing.
type field uint8

const (
	other field = iota
	contentLength
	transferEncoding
	host
)

const (
	httpVersion = "HTTP/1."
	coding      = "chunked"
	// maxName is the longest name that means something.
	maxName = len("transfer-encoding")
	// maxSizeDigits bounds leading zeros of a chunk's size.
	maxSizeDigits = 16
)

// scanner follows the requests of one connection byte by byte.
type scanner struct {
	state   state
	trailer bool // the fields are those of a trailer
	old     bool // HTTP/1.0
	seen    int  // bytes of the token that is being read
	name    [maxName]byte
	field   field
	ended   bool // the value of a framing field is at its end: only spaces may follow
	lengths int  // Content-Length fields
	codings int  // Transfer-Encoding fields
	hosts   int  // Host fields
	length  int64
	left    int64 // bytes of the body or the chunk that are still to come
}

// scan reads on through p. It returns how much of it may be passed on and, if that is not all, why. Where the
// end of the head lies in p as well, nothing from there on may be passed on of a request whose body is broken;
// inHead reports whether the cut is in a head.
func (s *scanner) scan(p []byte) (good int, inHead bool, why Reason) {
	headEnd := -1 // the LF that ends the head of the request that is being read
	for i := 0; i < len(p); i++ {
		if s.state == body || s.state == chunkData {
			n := min(s.left, int64(len(p)-i))
			s.left -= n
			i += int(n) - 1
			if s.left == 0 {
				s.bodyRead()
			}
			continue
		}
		if i += s.skip(p[i:]); i == len(p) {
			break
		}
		heading := s.state <= headLF && !s.trailer
		end := heading && s.state == headLF
		if why := s.step(p[i]); why != "" {
			switch {
			case heading:
				return i, true, why
			case headEnd >= 0:
				return headEnd, true, why
			default:
				return i, false, why
			}
		}
		if end {
			headEnd = i
		}
	}
	return len(p), false, ""
}

// skip returns how many bytes at the beginning of p change nothing, which is most of a head.
func (s *scanner) skip(p []byte) int {
	switch {
	case s.state == fieldValue && s.field == other:
		for i, c := range p {
			if c < ' ' || c == 0x7f {
				return i
			}
		}
		return len(p)
	case s.state == target && s.seen > 0:
		for i, c := range p {
			if c <= ' ' || c == 0x7f {
				return i
			}
		}
		return len(p)
	}
	return 0
}

// bodyRead goes on after the last byte of a body or a chunk.
func (s *scanner) bodyRead() {
	if s.state == body {
		s.next()
		return
	}
	s.state = chunkCR
}

// next goes on to the next request.
func (s *scanner) next() { *s = scanner{} }

func (s *scanner) step(c byte) Reason {
	switch s.state {
	case method, target, version, requestLineLF:
		return s.requestLine(c)
	case fieldStart, fieldName, fieldSpace, fieldValue, fieldLF:
		return s.fieldLine(c)
	case headLF:
		if c != '\n' {
			return BareLineEnd
		}
		if s.trailer {
			s.next()
			return ""
		}
		return s.headRead()
	default:
		return s.chunk(c)
	}
}

func (s *scanner) requestLine(c byte) Reason {
	switch s.state {
	case method:
		switch {
		case c == ' ' && s.seen > 0:
			s.enter(target)
		case !isToken(c):
			return BadRequestLine
		default:
			s.seen++
		}
	case target:
		switch {
		case c == ' ' && s.seen > 0:
			s.enter(version)
		case c <= ' ' || c == 0x7f:
			return BadRequestLine
		default:
			s.seen++
		}
	case version:
		switch {
		case s.seen < len(httpVersion):
			if c != httpVersion[s.seen] {
				return BadRequestLine
			}
		case s.seen == len(httpVersion):
			if c != '0' && c != '1' {
				return BadRequestLine
			}
			s.old = c == '0'
		case c == '\r':
			s.enter(requestLineLF)
			return ""
		case c == '\n':
			return BareLineEnd
		default:
			return BadRequestLine
		}
		s.seen++
	default:
		if c != '\n' {
			return BareLineEnd
		}
		s.enter(fieldStart)
	}
	return ""
}

func (s *scanner) enter(next state) { s.state, s.seen = next, 0 }

func (s *scanner) fieldLine(c byte) Reason {
	switch s.state {
	case fieldStart:
		switch c {
		case '\r':
			s.enter(headLF)
			return ""
		case '\n':
			return BareLineEnd
		case ' ', '\t':
			return FoldedField
		}
		s.enter(fieldName)
		return s.nameByte(c)
	case fieldName:
		if c == ':' {
			return s.named()
		}
		return s.nameByte(c)
	case fieldSpace:
		if c == ' ' || c == '\t' {
			return ""
		}
		s.enter(fieldValue)
		return s.valueByte(c)
	case fieldValue:
		return s.valueByte(c)
	default: // fieldLF
		if c != '\n' {
			return BareLineEnd
		}
		s.enter(fieldStart)
		return ""
	}
}

func (s *scanner) nameByte(c byte) Reason {
	switch {
	case c == '\n' || c == '\r':
		return BareLineEnd
	case !isToken(c):
		return s.broken(BadField)
	}
	if s.seen < maxName {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		s.name[s.seen] = c
	}
	s.seen++
	return ""
}

// named goes on after a field's name.
func (s *scanner) named() Reason {
	s.field = other
	if s.seen <= maxName {
		switch string(s.name[:s.seen]) {
		case "content-length":
			s.field = contentLength
			s.lengths++
		case "transfer-encoding":
			s.field = transferEncoding
			s.codings++
		case "host":
			s.field = host
			s.hosts++
		}
	}
	s.ended = false
	s.enter(fieldSpace)
	switch {
	case s.field != other && s.trailer:
		return BadTrailer
	case s.hosts > 1:
		return BadHost
	case s.lengths > 1:
		return BadLength
	case s.codings > 1:
		return BadCoding
	case s.lengths > 0 && s.codings > 0:
		return TwoFramings
	}
	return ""
}

func (s *scanner) valueByte(c byte) Reason {
	switch {
	case c == '\r':
		s.state = fieldLF // with the number of bytes seen
		return s.valueRead()
	case c == '\n':
		return BareLineEnd
	case c < ' ' && c != '\t' || c == 0x7f:
		return s.broken(BadField)
	}
	switch s.field {
	case contentLength:
		return s.lengthByte(c)
	case transferEncoding:
		return s.codingByte(c)
	default:
		return ""
	}
}

// lengthByte reads 1*DIGIT and the spaces after it.
func (s *scanner) lengthByte(c byte) Reason {
	switch {
	case c == ' ' || c == '\t':
		s.ended = true
		return ""
	case s.ended, c < '0', c > '9':
		return BadLength
	}
	digit := int64(c - '0')
	if s.length > (math.MaxInt64-digit)/10 {
		return BadLength
	}
	s.length = 10*s.length + digit
	s.seen++
	return ""
}

// codingByte reads "chunked" and the spaces after it.
func (s *scanner) codingByte(c byte) Reason {
	switch {
	case c == ' ' || c == '\t':
		s.ended = true
		return ""
	case s.ended, s.seen >= len(coding), c|0x20 != coding[s.seen]:
		return BadCoding
	}
	s.seen++
	return ""
}

// valueRead checks a value that is at its end.
func (s *scanner) valueRead() Reason {
	switch {
	case s.field == contentLength && s.seen == 0:
		return BadLength
	case s.field == transferEncoding && s.seen != len(coding):
		return BadCoding
	}
	return ""
}

// broken is why for a head, and says of a trailer that it is one.
func (s *scanner) broken(why Reason) Reason {
	if s.trailer {
		return BadTrailer
	}
	return why
}

// headRead goes on after a head.
func (s *scanner) headRead() Reason {
	switch {
	case s.codings > 0 && s.old:
		return BadCoding
	case s.hosts == 0 && !s.old:
		return BadHost
	case s.codings > 0:
		s.enter(chunkSize)
	case s.length > 0:
		s.left = s.length
		s.enter(body)
	default:
		s.next()
	}
	return ""
}

func (s *scanner) chunk(c byte) Reason {
	switch s.state {
	case chunkSize:
		digit, ok := hexDigit(c)
		switch {
		case ok && s.seen < maxSizeDigits && s.left <= math.MaxInt64>>4:
			s.left = s.left<<4 | int64(digit)
			s.seen++
		case s.seen > 0 && c == ';':
			s.enter(chunkExtension)
		case s.seen > 0 && c == '\r':
			s.enter(chunkSizeLF)
		case c == '\n':
			return BareLineEnd
		default:
			return BadChunk
		}
	case chunkExtension:
		switch {
		case c == '\r':
			s.enter(chunkSizeLF)
		case c == '\n':
			return BareLineEnd
		case c < ' ' && c != '\t' || c == 0x7f:
			return BadChunk
		}
	case chunkSizeLF:
		if c != '\n' {
			return BareLineEnd
		}
		if s.left == 0 { // the last chunk
			s.trailer = true
			s.enter(fieldStart)
			return ""
		}
		s.enter(chunkData)
	case chunkCR:
		if c != '\r' {
			return BadChunk
		}
		s.enter(chunkLF)
	default: // chunkLF
		if c != '\n' {
			return BareLineEnd
		}
		s.enter(chunkSize)
	}
	return ""
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// isToken reports whether c may be in a token (RFC 9110 §5.6.2).
func isToken(c byte) bool {
	if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' {
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}
