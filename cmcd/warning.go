package cmcd

import (
	"math/bits"
	"strings"
)

// Warning is a set of tolerances: what a lenient decoder put up with in a record. The zero value
// means that nothing was wrong.
type Warning uint32

// The tolerances.
const (
	// WarnComma: a comma at the beginning, at the end or beside another one.
	WarnComma Warning = 1 << iota
	// WarnDuplicate: a key came more than once; the last good value was taken.
	WarnDuplicate
	// WarnUnknownKey: a key is neither in the specification nor custom; it was ignored (§6).
	WarnUnknownKey
	// WarnUnknownToken: a token is not in the specification; it was kept.
	WarnUnknownToken
	// WarnBadValue: a value is not of its key's type, or makes no sense; it was dropped (§6).
	WarnBadValue
	// WarnQuoted: a token, number or boolean stands in quotes.
	WarnQuoted
	// WarnUnquoted: a string stands without quotes.
	WarnUnquoted
	// WarnScalar: version 2 wants a list where the record has a single value.
	WarnScalar
	// WarnList: the record has a list where a single value is wanted.
	WarnList
	// WarnQuote: a quote or backslash inside a string is not escaped.
	WarnQuote
	// WarnBoolean: a boolean is written as "true", "false", 1 or 0.
	WarnBoolean
	// WarnDecimal: a decimal stands where an integer is wanted; it was kept. Or a decimal has more
	// than three digits after the point; it was rounded.
	WarnDecimal
	// WarnParameter: a parameter that the specification does not define was ignored.
	WarnParameter
	// WarnCharacter: a character is not printable ASCII. Control characters and broken UTF-8 were
	// replaced, other characters were kept.
	WarnCharacter
	// WarnPercent: a percent sign of the query begins no escape; it was kept as it is.
	WarnPercent
	// WarnRepeated: the query has several CMCD arguments; the last good one was taken.
	WarnRepeated
	// WarnQueryIgnored: the request has CMCD headers and a CMCD argument; the headers were taken (§6).
	WarnQueryIgnored
	// WarnTooLong: a string is longer than the specification allows; it was kept.
	WarnTooLong
	// WarnTooMany: the record has more list items or custom keys than the decoder keeps.
	WarnTooMany
	// WarnSpace: white space where none may be: beside an equals sign, or a tab in a list.
	WarnSpace
	warnEnd
)

var warningNames = [...]string{
	"comma", "duplicate", "unknown_key", "unknown_token", "bad_value", "quoted", "unquoted",
	"scalar", "list", "quote", "boolean", "decimal", "parameter", "character", "percent",
	"repeated", "query_ignored", "too_long", "too_many", "space",
}

// Names returns the tolerances of the set as words, such as "bad_value", in a fixed order.
func (w Warning) Names() []string {
	if w &= warnEnd - 1; w == 0 {
		return nil
	}
	names := make([]string, 0, bits.OnesCount32(uint32(w)))
	for ; w != 0; w &= w - 1 {
		names = append(names, warningNames[bits.TrailingZeros32(uint32(w))])
	}
	return names
}

// String returns the tolerances of the set as words, separated by commas.
func (w Warning) String() string { return strings.Join(w.Names(), ",") }
