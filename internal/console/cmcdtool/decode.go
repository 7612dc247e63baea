package cmcdtool

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weir-stream/weir/cmcd"
)

// Decode writes every record of the input: as a table, or as JSON, one line a record. It is an error
// if there is none.
func Decode(ctx context.Context, w io.Writer, in Input, look Look, asJSON bool) error {
	passed, records, unreadable := 0, 0, 0
	for p, err := range in.pieces(ctx, &passed) {
		if err != nil {
			return err
		}
		for f := range p.Records(look) {
			if records++; f.Error != "" {
				unreadable++
			}
			var err error
			if asJSON {
				err = writeJSON(w, &f)
			} else {
				err = f.writeTable(w, records > 1)
			}
			if err != nil {
				return err
			}
		}
	}
	switch {
	case records == 0:
		return in.nothing(passed)
	case unreadable == records:
		return fmt.Errorf("of %s, none can be read", count(records, "record"))
	}
	return nil
}

// writeJSON writes a record as one line, in one piece.
func writeJSON(w io.Writer, f *Found) error {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // nobody puts it into a page
	if err := encoder.Encode(f); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// title says where a record was found and what it is.
func (f *Found) title() string {
	var parts []string
	if place := f.String(); place != "" {
		parts = append(parts, place)
	}
	if f.Version > 0 {
		parts = append(parts, fmt.Sprintf("version %d", f.Version))
	}
	parts = append(parts, f.Mode+" mode")
	if f.URL != "" {
		parts = append(parts, f.URL)
	}
	return printable(strings.Join(parts, ", "))
}

// String says where something was found, for people: "a.har entry 3", "line 3".
func (p Place) String() string {
	var parts []string
	if p.Source != "" {
		parts = append(parts, p.Source)
	}
	if p.Line > 0 {
		parts = append(parts, fmt.Sprintf("line %d", p.Line))
	}
	if p.Entry > 0 {
		parts = append(parts, fmt.Sprintf("entry %d", p.Entry))
	}
	if p.Record > 0 {
		parts = append(parts, fmt.Sprintf("record %d", p.Record))
	}
	return strings.Join(parts, " ")
}

// row is a line of a table: a key, its value on the wire, and its meaning.
type row struct{ key, value, meaning string }

// What a table does not make wider.
const (
	widestKey   = 16
	widestValue = 40
)

func (f *Found) writeTable(w io.Writer, separate bool) error {
	var b strings.Builder
	if separate {
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s\n", f.title())
	rows := f.rows()
	keys, values := 0, 0
	for _, r := range rows {
		keys = max(keys, min(utf8.RuneCountInString(r.key), widestKey))
		values = max(values, min(utf8.RuneCountInString(r.value), widestValue))
	}
	for _, r := range rows {
		fmt.Fprintf(&b, "  %-*s  ", keys, r.key)
		if utf8.RuneCountInString(r.value) > widestValue || utf8.RuneCountInString(r.key) > widestKey {
			fmt.Fprintf(&b, "%s\n  %*s  ", r.value, keys, "")
			r.value = ""
		}
		fmt.Fprintf(&b, "%-*s  %s\n", values, r.value, r.meaning)
	}
	for _, word := range f.Warnings {
		fmt.Fprintf(&b, "  ! %s: %s\n", word, tolerances[word])
	}
	if f.Error != "" {
		fmt.Fprintf(&b, "  ✗ %s\n", printable(f.Error))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// rows returns the keys in the order in which they are written.
func (f *Found) rows() []row {
	written := f.values.Map()
	rows := make([]row, 0, len(written))
	for name, value := range written {
		r := row{key: printable(name), value: printable(value)}
		if k, ok := cmcd.LookupKey(name); ok {
			r.meaning = explain(&f.values, k)
		} else {
			r.meaning = customMeaning(name)
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.key, b.key) })
	return rows
}

// printable replaces what a terminal could take for a command.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, s)
}
