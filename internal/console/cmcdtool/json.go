package cmcdtool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// maxDepth is how deep a JSON value may be nested that may go over several lines. It also bounds how
// often a line is looked at behind brackets that nobody closes.
const maxDepth = 32

// json takes the JSON value that p begins. Where nobody has said that the input is JSON, a value may be
// a line of a log, which has the CMCD in a string, or none: then it is not taken.
func (r *Reader) json(p Piece, found func(Piece) bool) (taken bool, err error) {
	text, more, err := r.value(p.Text)
	p.Form, p.Text = JSON, text
	switch {
	case r.As == JSON && err != nil:
		return false, err
	case r.As == JSON:
		r.take(more)
		return true, r.give(p, found)
	case text == "", !json.Valid([]byte(text)) && (more > 0 || argument(text) >= 0):
		return false, nil
	case !json.Valid([]byte(text)):
		return true, r.give(p, found) // to be told what is wrong with it
	}
	r.take(more)
	isCMCD, log := sift(text)
	switch {
	case isCMCD:
		return true, r.give(p, found)
	case len(log) == 0:
		r.Passed++
	}
	for _, line := range log {
		p.Form, p.Text = detectArgument(line)
		if err := r.give(p, found); err != nil {
			return true, err
		}
	}
	return true, nil
}

// value returns the JSON value that begins with line, and how many more lines it goes over; "" and why, if
// it does not end.
func (r *Reader) value(line string) (text string, more int, err error) {
	failed := func(how string, args ...any) (string, int, error) {
		return "", 0, fmt.Errorf("line %d: the JSON value that begins there "+how, append([]any{r.line}, args...)...)
	}
	depth, size := 0, 0
	for next := line; ; more++ {
		inString, escaped := false, false // no string goes over the end of a line
		for _, c := range []byte(next) {
			switch {
			case escaped:
				escaped = false
			case inString:
				inString, escaped = c != '"', c == '\\'
			case c == '"':
				inString = true
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				depth--
			}
			if depth > maxDepth {
				return failed("is nested more than %d deep", maxDepth)
			}
		}
		if size += len(next) + 1; size > maxLine+1 {
			return failed("is longer than %d bytes", maxLine)
		}
		if depth <= 0 {
			break
		}
		if next, err = r.peek(more); errors.Is(err, io.EOF) {
			return failed("has no end")
		} else if err != nil {
			return "", 0, err
		}
	}
	return strings.Join(append([]string{line}, r.ahead[:more]...), "\n"), more, nil
}

// sift tells what the objects of a JSON value are: records, or lines of a log, of which it returns the
// strings with a CMCD argument, one for each. Logs have members that are called as keys are, such as url.
func sift(text string) (isCMCD bool, log []string) {
	d := json.NewDecoder(strings.NewReader(text))
	old, keys, custom, other := 0, 0, 0, 0
	object := func(string) error {
		said := ""
		err := each(d, '{', func(name string) error {
			k, known := cmcd.LookupKey(name)
			switch {
			case known && k.In(1, cmcd.RequestMode):
				old++
			case known:
				keys++
			case cmcd.IsCustomKey(name):
				custom++
			default:
				other++
			}
			var value any
			err := d.Decode(&value)
			if said == "" {
				said = withArgument(value)
			}
			return err
		})
		if said != "" {
			log = append(log, said)
		}
		return err
	}
	var err error
	if text[0] == '[' {
		err = each(d, '[', object)
	} else {
		err = object("")
	}
	switch {
	case err != nil: // an array of something else
		return false, nil
	case other == 0 && old+keys > 0:
		return true, nil
	}
	return len(log) == 0 && (old > 0 || other == 0 && custom > 0), log
}

// withArgument returns the first string in a value that has a CMCD argument.
func withArgument(value any) string {
	switch value := value.(type) {
	case string:
		if argument(value) >= 0 {
			return value
		}
	case []any:
		for _, element := range value {
			if s := withArgument(element); s != "" {
				return s
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if s := withArgument(value[name]); s != "" {
				return s
			}
		}
	}
	return ""
}
