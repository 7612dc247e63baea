package cmcd

import (
	"iter"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// Limits of what the decoder keeps of one record; more than that is dropped with [WarnTooMany].
const (
	maxItems  = 512
	maxCustom = 64
)

// maxCustomLength is the number of characters that the value of a custom key may have (§4.1 item 5).
const maxCustomLength = 64

func longerThan(s string, characters int) bool {
	return len(s) > characters && utf8.RuneCountInString(s) > characters
}

// Parse decodes one record of version 1 or 2, already percent-decoded: the value of a CMCD query
// argument or header, or one line of a report body. The error is [ErrNoKeys] or [ErrVersion];
// anything else that is wrong costs at most the value where it stands, and is noted in
// [Values.Warnings].
//
// A single value and a list of one item without parameters are the same thing here, so the items
// of nor in version 1 are found where those of version 2 are. The value of nor is not
// percent-decoded a second time (version 1 asks players to encode it, few do).
func Parse(record string) (Values, error) {
	var d Decoder
	v, err := d.Parse(record)
	if err != nil {
		return Values{}, err
	}
	return v.owned(), nil
}

// ParseBody decodes the body of a report (§3.3): records separated by line feeds. Empty lines are
// passed over. Each record is yielded with the error of [Parse].
func ParseBody(body []byte) iter.Seq2[Values, error] {
	return func(yield func(Values, error) bool) {
		for record := range SplitBody(string(body)) {
			if !yield(Parse(record)) {
				return
			}
		}
	}
}

// SplitBody returns the records of the body of a report, without those that are empty.
func SplitBody(body string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.SplitSeq(body, "\n") {
			line = strings.Trim(line, " \t\r\ufeff")
			if line != "" && !yield(line) {
				return
			}
		}
	}
}

// Decoder decodes records one after the other and uses the same memory for all of them, so that
// decoding allocates nothing. What its methods return is valid until the next call, and so is a copy
// of it; [Values.Clone] keeps it. The decoder holds on to the memory of the last records. A Decoder must not be copied, nor used from several goroutines at once.
// The zero value is ready.
type Decoder struct {
	// PercentDecodings is how often the query argument may be percent-decoded: as often as it still
	// looks encoded, but no more than that. The logs of CDNs hold queries that were encoded up to
	// three times. Zero means once.
	PercentDecodings int

	p      parser
	memory []byte
}

// maxMemory is how large a buffer a Decoder keeps.
const maxMemory = 64 << 10

// Parse is [Parse] without allocations.
func (d *Decoder) Parse(record string) (*Values, error) {
	d.p.reset()
	d.p.record(record)
	if err := d.p.finish(); err != nil {
		return nil, err
	}
	return &d.p.v, nil
}

// parser decodes records into v. Its cost is linear in the length of the input, see closing.
type parser struct {
	v Values
	s string
	i int
	// owned is the memory of s if nobody else sees it, so that escapes can be resolved in place;
	// scratch is where they are resolved otherwise.
	owned, scratch []byte
	// printable says that the rest of s was looked through for what is not.
	printable bool
	// slow has every member read by member: what fast accepts must come out the same.
	slow bool
	// scalars and lists are the list keys that came as a single value and as a list.
	scalars, lists uint64
	// noSure and noClosing say that the rest of s has no sure, or no possible, end of a string;
	// the second element speaks of strings in lists.
	noSure, noClosing [2]bool
}

// reset forgets the record, not the memory.
func (p *parser) reset() {
	v := &p.v
	v.has, v.flags, v.single, v.Warnings = 0, 0, 0, 0
	v.numbers, v.strings, v.Custom = v.numbers[:0], v.strings[:0], v.Custom[:0]
	if p.owned, p.scratch = nil, p.scratch[:0]; cap(p.scratch) > maxMemory {
		p.scratch = nil
	}
	p.scalars, p.lists = 0, 0
}

// kind is what a value looks like on the wire.
type kind uint8

const (
	other kind = iota
	number
	quoted
	word // a token
	boolean
)

// value is a scalar or a list item, as it was read.
type value struct {
	Item
	kind    kind
	decimal bool
	flag    bool
}

func (p *parser) warn(w Warning) { p.v.Warnings |= w }

// record adds the record s to v. The bytes of s are those of owned, or owned is nil.
func (p *parser) record(s string) {
	p.s, p.i, p.printable = s, 0, false
	p.noSure, p.noClosing = [2]bool{}, [2]bool{}
	for {
		p.space()
		if p.i == len(p.s) {
			if strings.HasSuffix(trimRight(p.s), ",") {
				p.warn(WarnComma)
			}
			return
		}
		if p.s[p.i] == ',' {
			p.warn(WarnComma)
			p.i++
			continue
		}
		if p.slow || !p.fast() {
			if p.clean() {
				continue
			}
			p.member()
		}
		p.space()
		if p.i == len(p.s) {
			return
		}
		if p.s[p.i] != ',' { // rubbish after a list or a key
			p.warn(WarnBadValue)
			p.resync()
			if p.i == len(p.s) {
				return
			}
		}
		p.i++
	}
}

// finish judges what all records together have given.
func (p *parser) finish() error {
	v := &p.v
	version := v.Version()
	if version > 2 {
		return ErrVersion
	}
	if v.has == 0 && len(v.Custom) == 0 {
		return ErrNoKeys
	}
	if version == 1 {
		if p.lists&scalarInV1 != 0 {
			p.warn(WarnList)
		}
		p.scalars &^= scalarInV1
	}
	if p.scalars != 0 {
		p.warn(WarnScalar)
	}
	for set := v.has & limitedKeys; set != 0; set &= set - 1 {
		k := Key(bits.TrailingZeros64(set))
		if longerThan(v.texts[k.slot()], k.MaxLength(version)) {
			p.warn(WarnTooLong)
		}
	}
	return nil
}

// clean makes the rest of s printable: a record must fit into one line and into a database. It reports
// whether that changed anything.
func (p *parser) clean() bool {
	if p.printable {
		return false
	}
	p.printable = true
	rest := p.s[p.i:]
	i := 0
	for i < len(rest) && classes[rest[i]]&plainByte != 0 {
		i++
	}
	if i == len(rest) {
		return false
	}
	if strings.TrimRight(rest[i:], "\r\n\t ") == "" { // many a body ends with a line feed
		p.s = p.s[:p.i+i]
		return true
	}
	p.s, p.owned = p.s[:p.i]+p.printed(rest), nil
	return true
}

// printed returns s with a space in place of each control character but the tab, and U+FFFD for what is
// no UTF-8.
func (p *parser) printed(s string) string {
	strange := false
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r >= ' ' && r < 0x7f {
			return r
		}
		strange = true
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r // broken UTF-8 comes as U+FFFD
	}, s)
	if strange {
		p.warn(WarnCharacter)
	}
	return s
}

func (p *parser) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

// resync goes to the next comma, which may lie in a string: it is used where the text cannot be
// understood anyway.
func (p *parser) resync() {
	if n := strings.IndexByte(p.s[p.i:], ','); n >= 0 {
		p.i += n
	} else {
		p.i = len(p.s)
	}
}

// member reads key, key=value or key;parameters.
func (p *parser) member() {
	start := p.i
	for p.i < len(p.s) && !endsKey(p.s[p.i]) {
		p.i++
	}
	name := p.s[start:p.i]
	p.space()
	bare := p.i == len(p.s) || p.s[p.i] != '='
	if !bare {
		equals := p.i
		p.i++
		p.space()
		if equals > start+len(name) || p.i > equals+1 {
			p.warn(WarnSpace)
		}
	}
	k, known := LookupKey(name)
	switch {
	case !known:
		p.custom(name, bare)
		return
	case bare:
		p.set(k, value{kind: boolean, flag: true})
	case p.i < len(p.s) && p.s[p.i] == '(':
		p.list(k)
	default:
		p.set(k, p.scalar(k))
	}
	if p.i < len(p.s) && p.s[p.i] == ';' {
		p.warn(WarnParameter)
		p.skip()
	}
}

func endsKey(c byte) bool { return c == '=' || c == ',' || c == ';' || c == ' ' || c == '\t' }

// custom reads the value of a key that the specification does not define.
func (p *parser) custom(name string, bare bool) {
	start := p.i
	c := CustomValue{Key: name, Bare: true}
	if !bare && p.i < len(p.s) && p.s[p.i] == '"' {
		text, ok := p.quoted(false)
		if !ok {
			return
		}
		c.Value, c.Bare = text, false
		if p.i < len(p.s) && p.s[p.i] == ';' {
			p.warn(WarnParameter)
			p.skip()
		}
	} else {
		p.skip()
		c.Value = p.tabless(trimRight(p.s[start:p.i]))
		if !bare && c.Value == "" || bare && c.Value != "" && c.Value[0] != ';' {
			p.warn(WarnBadValue)
			return
		}
		if !isBare(c.Value) {
			p.warn(WarnUnquoted)
			c.Bare = false
		}
	}
	p.addCustom(c)
}

// addCustom keeps a value of a key that the specification does not define.
func (p *parser) addCustom(c CustomValue) {
	if !isCustom(c.Key) {
		p.warn(WarnUnknownKey)
		return
	}
	if longerThan(c.Value, maxCustomLength) {
		p.warn(WarnTooLong)
	}
	for i := range p.v.Custom {
		if p.v.Custom[i].Key == c.Key {
			p.warn(WarnDuplicate)
			p.v.Custom[i] = c
			return
		}
	}
	if len(p.v.Custom) == maxCustom {
		p.warn(WarnTooMany)
		return
	}
	p.v.Custom = append(p.v.Custom, c)
}

// isCustom reports whether name is a well-formed custom key: one with a hyphenated prefix (§3.3).
func isCustom(name string) bool {
	if name == "" || !isAlnum(name[0]) && name[0] != '*' {
		return false
	}
	hyphen := false
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '-':
			hyphen = hyphen || i < len(name)-1
		case !isAlnum(c) && c != '.' && c != '_' && c != '*':
			return false
		}
	}
	return hyphen
}

// isBare reports whether s can stand behind a custom key as it is: a token, a number, a list, any
// of them with parameters, or parameters alone.
func isBare(s string) bool {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			// A string can be a parameter's value or a list's item.
			if i == 0 || (s[i-1] != '=' || strings.IndexByte(s[:i], ';') < 0) && (depth == 0 || s[i-1] != '(' && s[i-1] != ' ') {
				return false
			}
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] < ' ' || s[i] == 0x7f {
					return false
				}
				if s[i] == '\\' {
					if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
						return false
					}
				}
			}
			if i >= len(s) || i+1 < len(s) && s[i+1] != ';' && (depth == 0 || s[i+1] != ' ' && s[i+1] != ')') {
				return false
			}
		case c == '(':
			if i > 0 { // a list has no list in it
				return false
			}
			depth++
		case c == ')':
			depth--
			if depth < 0 {
				return false
			}
		case c == ',' || c == ' ' && depth == 0 || c < ' ' || c == 0x7f:
			return false
		}
	}
	return depth == 0
}

func isAlnum(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

// skip goes to the next comma outside of strings and lists.
func (p *parser) skip() {
	depth := 0
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case '"':
			if end, _ := p.pass(depth > 0); end < 0 { // not quoted, which would write into what is passed over
				return
			}
			continue
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth <= 0 {
				return
			}
		}
		p.i++
	}
}
