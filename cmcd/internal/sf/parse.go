package sf

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// parser is one run of a Parser.
type parser struct {
	kept       *Parser
	s          string
	dictionary bool
	i          int
	// inString is the offset of the quote that opened the string in which an error was found, or -1.
	inString int
	// noClosing says that the rest of s has no quote that could close a string: it keeps the search
	// for one linear.
	noClosing bool
}

// readMembers reads a dictionary or a list.
func (p *parser) readMembers() (members []Member, errs []*SyntaxError) {
	section := "§3.1"
	if p.dictionary {
		section = "§3.2"
	}
	start := len(p.kept.members)
	read := func() []Member { return slices.Clip(p.kept.members[start:]) }
	p.spaces()
	for p.i < len(p.s) {
		if len(errs) >= MaxErrors {
			return read(), append(errs, p.bad(fmt.Sprintf("fewer than %d errors; the rest was not read", MaxErrors), section))
		}
		if len(p.kept.members) >= MaxValues {
			return read(), append(errs, p.bad(fmt.Sprintf("at most %d members; the rest was not read", MaxValues), section))
		}
		if p.s[p.i] == ',' {
			errs = append(errs, p.bad("a member before the comma", section))
			p.i++
			p.whitespace()
			continue
		}
		items, params := len(p.kept.items), len(p.kept.params)
		m, err := p.member()
		end := p.i
		if err == nil {
			p.whitespace()
			if p.i < len(p.s) && p.s[p.i] != ',' {
				want := "a comma or the end after the value"
				if m.Kind == String && !m.List {
					want += `; a quote inside a string is written as \"`
				}
				err = p.bad(want, section)
			}
		}
		if err != nil {
			err.Key = m.Name
			errs = append(errs, err)
			p.resync()
			end = p.i
			m = Member{Name: m.Name, Offset: m.Offset, Err: err}
			p.kept.items, p.kept.params = p.kept.items[:items], p.kept.params[:params]
		}
		m.Raw = strings.TrimRight(p.s[m.Offset:end], " \t")
		p.kept.members = Add(p.kept.members, m)
		if p.i == len(p.s) {
			return read(), errs
		}
		comma := p.i
		p.i++
		p.whitespace()
		if p.i == len(p.s) {
			p.i = comma
			errs = append(errs, p.bad("no comma after the last member", section))
			return read(), errs
		}
	}
	return read(), errs
}

// resync goes behind a mistake: to the comma before the next thing that looks like a member. What a
// string contains is no member, if the string has an end.
func (p *parser) resync() {
	inString := p.inString >= 0
	for p.i < len(p.s) {
		if inString && !p.noClosing {
			end := p.closing()
			p.noClosing = end < 0
			p.i = max(p.i, end)
		}
		inString = false
		for ; p.i < len(p.s) && !inString; p.i++ {
			if p.s[p.i] == ',' && p.looksLikeMember(p.i+1) {
				return
			}
			inString = strings.HasPrefix(p.s[p.i:], `="`) // the next turn begins at the quote's successor
		}
		if inString {
			p.i++
		}
	}
}

// closing returns the offset behind the next quote that is followed by what may follow a member, or -1.
func (p *parser) closing() int {
	for i := p.i; i < len(p.s); i++ {
		switch p.s[i] {
		case '\\':
			i++
		case '"':
			rest := strings.TrimLeft(p.s[i+1:], " \t")
			if rest == "" || rest[0] == ',' || rest[0] == ')' || rest[0] == ';' {
				return i + 1
			}
		}
	}
	return -1
}

// looksLikeMember reports whether a member may begin at i, after white space. It reads no further
// than the next comma, so that all calls together are linear.
func (p *parser) looksLikeMember(i int) bool {
	for i < len(p.s) && (p.s[i] == ' ' || p.s[i] == '\t') {
		i++
	}
	if !p.dictionary && i < len(p.s) && strings.IndexByte(`":?`, p.s[i]) >= 0 {
		return true // only members of a list begin with a value
	}
	start := i
	for i < len(p.s) && (isKeyChar(p.s[i]) || isAlpha(p.s[i])) {
		i++
	}
	if i == start { // a comma at the end, or beside another one, is an error of its own
		return i == len(p.s) || p.s[i] == ',' || p.s[i] == '('
	}
	for i < len(p.s) && (p.s[i] == ' ' || p.s[i] == '\t') {
		i++
	}
	return i == len(p.s) || p.s[i] == '=' || p.s[i] == ',' || p.s[i] == ';'
}

// member reads one member. Of a bad one it returns the name, if there was one, and the offset.
func (p *parser) member() (Member, *SyntaxError) {
	p.inString = -1
	m := Member{Offset: p.i}
	if p.dictionary {
		name, err := p.key("a key")
		if err != nil {
			return m, err
		}
		m.Name = name
		if p.i == len(p.s) || p.s[p.i] != '=' {
			m.Bare, m.Value = true, Value{Kind: Boolean, Bool: true}
			m.Params, err = p.params()
			return m, err
		}
		p.i++
	}
	var err *SyntaxError
	if p.i < len(p.s) && p.s[p.i] == '(' {
		m.List = true
		m.Items, err = p.innerList()
	} else {
		m.Value, err = p.value()
	}
	if err == nil {
		m.Params, err = p.params()
	}
	return m, err
}

// innerList reads an inner list without its parameters (RFC 8941 §3.1.1).
func (p *parser) innerList() ([]Item, *SyntaxError) {
	const section = "§3.1.1"
	open := p.i
	p.i++
	start := len(p.kept.items)
	for {
		p.spaces()
		if p.i == len(p.s) {
			p.i = open
			err := p.bad(`")" at the end of the list that begins here`, section)
			err.Found = "the end"
			p.i++
			return nil, err
		}
		if p.s[p.i] == ')' {
			p.i++
			return slices.Clip(p.kept.items[start:]), nil
		}
		if len(p.kept.items) >= MaxValues {
			return nil, p.bad(fmt.Sprintf("at most %d items of lists", MaxValues), section)
		}
		item, err := p.item()
		if err != nil {
			return nil, err
		}
		p.kept.items = Add(p.kept.items, item)
		if p.i < len(p.s) && p.s[p.i] != ' ' && p.s[p.i] != ')' {
			return nil, p.bad(`a space or ")" after an item of the list`, section)
		}
	}
}

func (p *parser) item() (Item, *SyntaxError) {
	item := Item{Offset: p.i}
	var err *SyntaxError
	if item.Value, err = p.value(); err != nil {
		return item, err
	}
	if item.Params, err = p.params(); err != nil {
		return item, err
	}
	item.Raw = p.s[item.Offset:p.i]
	return item, nil
}

func (p *parser) params() (Params, *SyntaxError) {
	start := len(p.kept.params)
	for p.i < len(p.s) && p.s[p.i] == ';' {
		p.i++
		p.spaces()
		if len(p.kept.params) >= MaxValues {
			return nil, p.bad(fmt.Sprintf("at most %d parameters", MaxValues), "§3.1.2")
		}
		param := Param{Offset: p.i}
		var err *SyntaxError
		if param.Name, err = p.key("the name of a parameter"); err != nil {
			return nil, err
		}
		if p.i < len(p.s) && p.s[p.i] == '=' {
			p.i++
			if param.Value, err = p.value(); err != nil {
				return nil, err
			}
		} else {
			param.Bare, param.Value = true, Value{Kind: Boolean, Bool: true}
		}
		param.Raw = p.s[param.Offset:p.i]
		p.kept.params = Add(p.kept.params, param)
	}
	return slices.Clip(p.kept.params[start:]), nil
}

// key reads the name of a member or of a parameter (RFC 8941 §3.1.2).
func (p *parser) key(what string) (string, *SyntaxError) {
	start := p.i
	if p.i == len(p.s) || !isLower(p.s[p.i]) && p.s[p.i] != '*' {
		return "", p.bad(what+`, which begins with a lower-case letter or "*"`, "§3.1.2")
	}
	for p.i < len(p.s) && isKeyChar(p.s[p.i]) {
		p.i++
	}
	if p.i < len(p.s) && p.s[p.i] >= 'A' && p.s[p.i] <= 'Z' {
		return "", p.bad(what+" without capital letters", "§3.1.2")
	}
	return p.s[start:p.i], nil
}

// value reads a bare item.
func (p *parser) value() (Value, *SyntaxError) {
	if p.i == len(p.s) {
		return Value{}, p.bad("a value", "§3.3")
	}
	switch c := p.s[p.i]; {
	case c == '-' || isDigit(c):
		return p.number()
	case c == '"':
		return p.text()
	case c == '*' || isAlpha(c):
		return p.token(), nil
	case c == ':':
		return p.bytes()
	case c == '?':
		return p.boolean()
	}
	return Value{}, p.bad("a value: a number, string in quotes, token, boolean or byte sequence", "§3.3")
}

func (p *parser) number() (Value, *SyntaxError) {
	start := p.i
	sign := int64(1)
	if p.s[p.i] == '-' {
		sign = -1
		p.i++
	}
	if p.i == len(p.s) || !isDigit(p.s[p.i]) {
		return Value{}, p.bad("a digit after the minus sign", "§3.3.1")
	}
	n, digits := p.digits()
	if p.i == len(p.s) || p.s[p.i] != '.' {
		if digits > 15 {
			return Value{}, p.tooLong(start, "at most 15 digits", "§3.3.1")
		}
		return Value{Kind: Integer, Int: sign * n}, nil
	}
	if digits > 12 {
		p.i++
		p.digits()
		return Value{}, p.tooLong(start, "at most 12 digits before the point of a decimal", "§3.3.2")
	}
	p.i++
	if p.i == len(p.s) || !isDigit(p.s[p.i]) {
		return Value{}, p.bad("a digit after the point of a decimal", "§3.3.2")
	}
	fraction, digits := p.digits()
	if digits > 3 {
		return Value{}, p.tooLong(start, "at most 3 digits after the point of a decimal", "§3.3.2")
	}
	for ; digits < 3; digits++ {
		fraction *= 10
	}
	return Value{Kind: Decimal, Int: sign * (n*1000 + fraction)}, nil
}

// digits reads digits. The number is of use only if there are at most 15.
func (p *parser) digits() (n int64, digits int) {
	for ; p.i < len(p.s) && isDigit(p.s[p.i]); p.i++ {
		if digits++; digits <= 15 {
			n = n*10 + int64(p.s[p.i]-'0')
		}
	}
	return n, digits
}

func (p *parser) tooLong(start int, want, section string) *SyntaxError {
	return &SyntaxError{Offset: start, Found: quote(p.s[start:p.i]), Want: want, Section: "RFC 8941 " + section}
}

// text reads a string (RFC 8941 §3.3.3).
func (p *parser) text() (Value, *SyntaxError) {
	const section = "§3.3.3"
	p.inString = p.i
	p.i++
	start := p.i
	var unescaped []byte // the text up to from, where the last escape was
	from := start
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			text := p.s[start:p.i]
			if from > start {
				text = string(append(unescaped, p.s[from:p.i]...))
			}
			p.i++
			p.inString = -1
			return Value{Kind: String, Text: text}, nil
		case c == '\\':
			if p.i+1 == len(p.s) || p.s[p.i+1] != '"' && p.s[p.i+1] != '\\' {
				return Value{}, p.bad(`\" or \\: a backslash in a string escapes only a quote or a backslash`, section)
			}
			unescaped = append(unescaped, p.s[from:p.i]...)
			p.i++
			from = p.i
		case c < ' ' || c >= 0x7f:
			return Value{}, p.bad("only printable ASCII characters in a string", section)
		}
	}
	// The next member may begin anywhere behind the quote: there is no other one that could close it.
	p.i = p.inString
	err := p.bad("a quote at the end of the string that begins here", section)
	err.Found = "the end"
	p.i++
	p.inString = -1
	return Value{}, err
}

func (p *parser) token() Value {
	start := p.i
	for p.i < len(p.s) && isTokenChar(p.s[p.i]) {
		p.i++
	}
	return Value{Kind: Token, Text: p.s[start:p.i]}
}

// bytes reads a byte sequence (RFC 8941 §3.3.5). Padding may be missing (§4.2.7).
func (p *parser) bytes() (Value, *SyntaxError) {
	const section = "§3.3.5"
	start := p.i
	end := strings.IndexByte(p.s[start+1:], ':')
	if end < 0 {
		// A colon cannot begin a value twice in a row of such errors without ending this one.
		err := p.bad(`":" at the end of the byte sequence that begins here`, section)
		err.Found = "the end"
		p.i++
		return Value{}, err
	}
	encoded := p.s[start+1 : start+1+end]
	if strings.ContainsAny(encoded, "\r\n") { // the decoder would pass over them
		return Value{}, p.bad("Base64 between the colons", section)
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		decoded, err = base64.RawStdEncoding.DecodeString(encoded)
	}
	p.i += end + 2
	if err != nil {
		return Value{}, &SyntaxError{
			Offset: start, Found: quote(encoded), Want: "Base64 between the colons", Section: "RFC 8941 " + section,
		}
	}
	return Value{Kind: Bytes, Text: string(decoded)}, nil
}

func (p *parser) boolean() (Value, *SyntaxError) {
	p.i++
	if p.i == len(p.s) || p.s[p.i] != '0' && p.s[p.i] != '1' {
		return Value{}, p.bad(`0 or 1 after "?": a boolean is ?1 or ?0`, "§3.3.6")
	}
	p.i++
	return Value{Kind: Boolean, Bool: p.s[p.i-1] == '1'}, nil
}

// bad is an error at the place where the parser stands.
func (p *parser) bad(want, section string) *SyntaxError {
	found := "the end"
	if p.i < len(p.s) {
		_, n := utf8.DecodeRuneInString(p.s[p.i:])
		found = quote(p.s[p.i : p.i+n])
	}
	return &SyntaxError{Offset: p.i, Found: found, Want: want, Section: "RFC 8941 " + section}
}

// quote is a short text for a message.
func quote(s string) string {
	const most = 32
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

func (p *parser) spaces() {
	for p.i < len(p.s) && p.s[p.i] == ' ' {
		p.i++
	}
}

// whitespace passes over what may stand around commas.
func (p *parser) whitespace() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t') {
		p.i++
	}
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return isLower(c|0x20) && c < 0x80 }

func isKeyChar(c byte) bool {
	return isLower(c) || isDigit(c) || c == '_' || c == '-' || c == '.' || c == '*'
}

// isTokenChar says what a token may consist of: tchar of RFC 9110 §5.6.2, ":" and "/".
func isTokenChar(c byte) bool {
	return isAlpha(c) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0
}
