package cmsd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/sf"
)

const (
	maxNumber = 1e15 - 1 // RFC 8941 §3.3.1
	maxOther  = 64       // keys kept that are not known here, of all hops together
	maxHops   = 64
	maxErrors = 32
	maxFound  = 48 // characters of a bad value in an error
)

// kind is the type of a key's value.
type kind uint8

const (
	kindText kind = iota
	kindToken
	kindNumber
	kindFlag
)

// field is a key, and where its value lies.
type field struct {
	name   string
	kind   kind
	text   *string // of a text or token
	number **int64
	flag   *bool
}

func text(name string, at *string) field   { return field{name: name, kind: kindText, text: at} }
func token(name string, at *string) field  { return field{name: name, kind: kindToken, text: at} }
func number(name string, at **int64) field { return field{name: name, kind: kindNumber, number: at} }
func flag(name string, at *bool) field     { return field{name: name, kind: kindFlag, flag: at} }

func find(fields []field, name string) (field, bool) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

// reader reads the values of one header, and notes what it drops.
type reader struct {
	header  string
	errs    []error
	dropped int
	others  int // keys kept that are not known
}

func (r *reader) drop(format string, args ...any) {
	if r.dropped++; r.dropped <= maxErrors {
		r.errs = append(r.errs, fmt.Errorf("cmsd: "+r.header+": "+format, args...))
	}
}

// clip makes a bad value fit for an error.
func clip(s string) string {
	if len(s) > maxFound {
		return strings.ToValidUTF8(s[:maxFound], "") + "…"
	}
	return s
}

// joined returns the value of a header that came in several lines (RFC 8941 §4.2).
func joined(headers []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(headers), func(line string) bool { return strings.TrimSpace(line) == "" }), ",")
}

// members returns the members that can be read.
func (r *reader) members(members []sf.Member, errs []*sf.SyntaxError) []sf.Member {
	for _, err := range errs {
		r.drop("%w", err)
	}
	return slices.DeleteFunc(members, func(m sf.Member) bool { return m.Err != nil })
}

func (r *reader) err() error {
	if more := r.dropped - maxErrors; more > 0 {
		return errors.Join(append(r.errs, fmt.Errorf("cmsd: %s: %d more of such kinds were dropped", r.header, more))...)
	}
	return errors.Join(r.errs...)
}

// read gives the key that m is of its value. A key that is not known goes to other.
func (r *reader) read(fields []field, m sf.Member, other *[]cmcd.CustomValue) {
	f, known := find(fields, m.Name)
	if !known {
		r.keep(m, other)
		return
	}
	if m.List {
		m.Value = sf.Value{} // none of the keys is a list
	}
	switch f.kind {
	case kindText:
		if m.Kind == sf.String || m.Kind == sf.Token {
			*f.text = m.Text
			return
		}
		r.drop("key %q: found %s, expected a string", m.Name, clip(m.Raw))
	case kindToken:
		if (m.Kind == sf.Token || m.Kind == sf.String) && isToken(m.Text) {
			*f.text = m.Text
			return
		}
		r.drop("key %q: found %s, expected a token", m.Name, clip(m.Raw))
	case kindNumber:
		if m.Whole() && m.Number() >= 0 {
			*f.number = new(int64(m.Number()))
			return
		}
		r.drop("key %q: found %s, expected a whole number that is not below 0", m.Name, clip(m.Raw))
	case kindFlag:
		if m.Kind == sf.Boolean {
			*f.flag = m.Bool
			return
		}
		r.drop("key %q: found %s, expected a boolean", m.Name, clip(m.Raw))
	}
}

// keep adds a key that is not known to other. Of several with one name, the last one counts.
func (r *reader) keep(m sf.Member, other *[]cmcd.CustomValue) {
	c := cmcd.CustomValue{Key: m.Name, Bare: true}
	switch {
	case m.Kind == sf.String && !m.List && len(m.Params) == 0:
		c.Value, c.Bare = m.Text, false
	case !m.Bare || len(m.Params) > 0:
		c.Value = strings.TrimPrefix(strings.TrimPrefix(m.Raw, m.Name), "=")
		if !m.List {
			c.Value = withoutSpaces(c.Value) // they can only be before the name of a parameter
		}
	}
	if i := slices.IndexFunc(*other, func(o cmcd.CustomValue) bool { return o.Key == c.Key }); i >= 0 {
		(*other)[i] = c
		return
	}
	if r.others == maxOther {
		r.drop("key %q: there are more than %d keys that are not known", clip(m.Name), maxOther)
		return
	}
	r.others++
	*other = append(*other, c)
}

// write returns the members of a dictionary, or the parameters of an item, which have no lists and no
// parameters of their own.
func write(fields []field, other []cmcd.CustomValue, dictionary bool) []string {
	var parts []string
	for _, f := range fields {
		switch f.kind {
		case kindText:
			if *f.text != "" {
				parts = append(parts, f.name+"="+quoted(*f.text))
			}
		case kindToken:
			if isToken(*f.text) {
				parts = append(parts, f.name+"="+*f.text)
			}
		case kindNumber:
			if n := *f.number; n != nil && *n >= 0 && *n <= maxNumber {
				parts = append(parts, f.name+"="+strconv.FormatInt(*n, 10))
			}
		case kindFlag:
			if *f.flag {
				parts = append(parts, f.name)
			}
		}
	}
	for _, c := range other {
		part := c.Key
		switch {
		case !c.Bare:
			part += "=" + quoted(c.Value)
		case c.Value != "" && c.Value[0] != ';':
			part += "=" + c.Value
		default:
			part += c.Value
		}
		if _, known := find(fields, c.Key); !known && isMember(part, c.Key, dictionary) {
			parts = append(parts, part)
		}
	}
	return parts
}

// isMember reports whether s is one member of that name without spaces outside of strings, and one parameter
// as well if it is not for a dictionary.
func isMember(s, name string, dictionary bool) bool {
	members, errs := sf.ParseDictionary(s)
	if len(errs) > 0 || len(members) != 1 || members[0].Name != name || members[0].Raw != s || withoutSpaces(s) != s {
		return false
	}
	return dictionary || !members[0].List && len(members[0].Params) == 0
}

// withoutSpaces returns s without the spaces that are not in a string.
func withoutSpaces(s string) string {
	if strings.IndexByte(s, ' ') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	inString := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\' && i+1 < len(s):
			b = append(b, c)
			i++
		case !inString && c == ' ':
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// quoted returns s as a string of a structured field. What that cannot have becomes a question mark.
func quoted(s string) string {
	b := []byte{'"'}
	for _, r := range s {
		switch {
		case r < ' ' || r > '~':
			r = '?'
		case r == '"' || r == '\\':
			b = append(b, '\\')
		}
		b = append(b, byte(r))
	}
	return string(append(b, '"'))
}

// isToken reports whether s is a token (RFC 8941 §3.3.4).
func isToken(s string) bool {
	item, err := sf.ParseItem(s)
	return err == nil && item.Kind == sf.Token && item.Text == s
}
