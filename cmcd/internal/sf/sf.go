package sf

import (
	"fmt"
	"math"
	"slices"
)

// Limits of what is kept of one field. RFC 8941 §3 asks for 1,024 members, 256 items of an inner
// list and 256 parameters at least.
const (
	// MaxValues is how many members there may be, and how many items of inner lists, and how many
	// parameters.
	MaxValues = 1 << 10
	// MaxErrors is how many errors are noted before the parser gives up.
	MaxErrors = 128
)

// Kind is the type of a bare item (RFC 8941 §3.3).
type Kind uint8

// The kinds of bare item.
const (
	Integer Kind = iota + 1
	Decimal
	String
	Token
	Bytes
	Boolean
)

// String returns the kind as a message says it, with its article.
func (k Kind) String() string {
	switch k {
	case Integer:
		return "an integer"
	case Decimal:
		return "a decimal"
	case String:
		return "a string"
	case Token:
		return "a token"
	case Bytes:
		return "a byte sequence"
	case Boolean:
		return "a boolean"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Value is a bare item.
type Value struct {
	Int  int64  // the integer, or the thousandths of the decimal
	Text string // the string without its escapes, the token, or the decoded bytes
	Kind Kind
	Bool bool
}

// Number returns the integer or decimal.
func (v Value) Number() float64 {
	if v.Kind == Decimal {
		return float64(v.Int) / 1000
	}
	return float64(v.Int)
}

// Whole reports whether the value is a number without a fraction.
func (v Value) Whole() bool {
	return v.Kind == Integer || v.Kind == Decimal && v.Int%1000 == 0
}

// Param is a parameter of an item or of an inner list (RFC 8941 §3.1.2).
type Param struct {
	Name   string
	Value         // true if the parameter has no value
	Bare   bool   // the parameter has no value
	Raw    string // as it was written, with its name
	Offset int    // of its name, in bytes from the beginning of the field
}

// Params are the parameters of an item or of an inner list in the order of the text. A name that
// comes more than once is there more than once; the last one counts.
type Params []Param

// Get returns the parameter of that name.
func (p Params) Get(name string) (Param, bool) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i].Name == name {
			return p[i], true
		}
	}
	return Param{}, false
}

// Item is an item (RFC 8941 §3.3).
type Item struct {
	Value
	Params Params
	Raw    string // as it was written, with its parameters
	Offset int    // in bytes from the beginning of the field
}

// Member is a member of a dictionary or list: an item or an inner list.
type Member struct {
	Name   string // of a member of a dictionary
	Value         // of an item
	Bare   bool   // the member of a dictionary has no value, which means true
	List   bool   // the member is an inner list
	Items  []Item // of the inner list
	Params Params
	Raw    string // the member as it was written; of a bad one, all that was passed over
	Offset int    // in bytes from the beginning of the field
	Err    *SyntaxError
}

// Find returns the member of that name; of several, the last one counts (RFC 8941 §3.2).
func Find(dictionary []Member, name string) (Member, bool) {
	for i := len(dictionary) - 1; i >= 0; i-- {
		if dictionary[i].Name == name {
			return dictionary[i], true
		}
	}
	return Member{}, false
}

// SyntaxError says where a field breaks which rule.
type SyntaxError struct {
	Offset  int    // in bytes from the beginning of the field
	Key     string // the member of the dictionary, if its name could be read
	Found   string // such as `"x"` or `the end`
	Want    string // such as `a comma`
	Section string // such as "RFC 8941 §3.2"
}

// Error returns where the field breaks which rule.
func (e *SyntaxError) Error() string {
	of := ""
	if e.Key != "" {
		of = fmt.Sprintf(" of key %q", e.Key)
	}
	return fmt.Sprintf("at byte %d%s: found %s, expected %s (%s)", e.Offset, of, e.Found, e.Want, e.Section)
}

// A Parser reads fields into memory that it uses again. The zero value is ready. What it has returned
// is valid until the next call of [Parser.Reset]. [MaxValues] is for all that is read between two
// of them, [MaxErrors] for each field.
type Parser struct {
	members []Member
	items   []Item
	params  []Param
}

// Reset forgets what was read.
func (p *Parser) Reset() {
	clear(p.members) // a long field must not live on for the sake of a short one
	clear(p.items)
	clear(p.params)
	p.members, p.items, p.params = p.members[:0], p.items[:0], p.params[:0]
}

// Dictionary reads a dictionary (RFC 8941 §3.2). The members are in the order of the text; a name that
// comes more than once is there more than once. A bad member is there with its error and without a
// value. Each error is in errs, also those that belong to no member, such as a comma at the end.
func (p *Parser) Dictionary(s string) (members []Member, errs []*SyntaxError) {
	return p.read(s, true)
}

// List reads a list (RFC 8941 §3.1), see [Parser.Dictionary].
func (p *Parser) List(s string) (members []Member, errs []*SyntaxError) {
	return p.read(s, false)
}

func (p *Parser) read(s string, dictionary bool) ([]Member, []*SyntaxError) {
	run := parser{kept: p, s: s, dictionary: dictionary}
	return run.readMembers()
}

// Add appends x to list. Room is made in few steps, so that what is thrown away on the way is little.
func Add[T any](list []T, x T) []T {
	if n := len(list); n == cap(list) {
		list = slices.Grow(list, min(max(4, 3*n), max(MaxValues-n, 1)))
	}
	return append(list, x)
}

// ParseDictionary reads a dictionary, see [Parser.Dictionary].
func ParseDictionary(s string) (members []Member, errs []*SyntaxError) {
	var p Parser
	return p.Dictionary(s)
}

// ParseList reads a list, see [Parser.List].
func ParseList(s string) (members []Member, errs []*SyntaxError) {
	var p Parser
	return p.List(s)
}

// ParseItem reads an item (RFC 8941 §3.3).
func ParseItem(s string) (Item, error) {
	p := parser{kept: &Parser{}, s: s}
	p.spaces()
	item, err := p.item()
	if err != nil {
		return Item{}, err
	}
	p.spaces()
	if p.i < len(s) {
		return Item{}, p.bad("the end of the item", "§3.3")
	}
	return item, nil
}

// maxInteger is the largest integer (RFC 8941 §3.3.1).
const maxInteger = 1e15 - 1

// NumberValue returns f as a bare item, rounded to the three digits that a decimal can have; not ok
// if it is beyond what can be written.
func NumberValue(f float64) (v Value, ok bool) {
	if f == math.Trunc(f) && math.Abs(f) <= maxInteger {
		return Value{Kind: Integer, Int: int64(f)}, true
	}
	if t := math.RoundToEven(f * 1000); math.Abs(t) <= maxInteger {
		return Value{Kind: Decimal, Int: int64(t)}, true
	}
	return Value{}, false
}
