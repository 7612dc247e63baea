package encode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/client"
)

// Form is a way in which CMCD is written down.
type Form string

// The forms.
const (
	Query   Form = "query"
	Headers Form = "headers"
	Record  Form = "record"
	Body    Form = "body"
	URL     Form = "url"
)

// Options say how records are written.
type Options struct {
	// As is the form; "" is [URL] with an URL, else [Record].
	As Form
	// URL is the address that gets the record as its CMCD argument, and that nor is made relative to.
	URL string
	// Version is 1 or 2, 0 for that of the record.
	Version int
	// Mode is "request", "event", or "" for that of the record.
	Mode string
}

// ArgumentError says that what was asked for on the command line cannot be meant.
type ArgumentError struct{ Err error }

func (e *ArgumentError) Error() string { return e.Err.Error() }
func (e *ArgumentError) Unwrap() error { return e.Err }

// Encoder prepares records as a player must and writes them. What cannot be sent is left out, and
// named on warn.
type Encoder struct {
	w, warn io.Writer
	options Options
	n       int // records so far
}

// New returns an encoder, or an [*ArgumentError].
func New(w, warn io.Writer, o Options) (*Encoder, error) {
	if o.As == "" {
		o.As = Record
		if o.URL != "" {
			o.As = URL
		}
	}
	if o.URL != "" {
		u, err := url.Parse(o.URL)
		if err != nil || !u.IsAbs() || u.Host == "" {
			return nil, &ArgumentError{fmt.Errorf("--url %q is not an address such as https://cdn.example/a.m4s", o.URL)}
		}
	}
	switch {
	case !slices.Contains([]Form{Query, Headers, Record, Body, URL}, o.As):
		return nil, &ArgumentError{fmt.Errorf("--as: %q is not one of query, headers, record, body, url", o.As)}
	case o.As == URL && o.URL == "":
		return nil, &ArgumentError{errors.New("--as url needs --url, the address to add the CMCD argument to")}
	case o.Version == 1 && o.Mode == cmcd.EventMode.String():
		return nil, &ArgumentError{errors.New("version 1 has no event mode")}
	}
	return &Encoder{w: w, warn: warn, options: o}, nil
}

// Pairs writes one record of pairs such as br=3000, sid=abc and bs.
func (e *Encoder) Pairs(pairs []string) error {
	v, err := parsePairs(pairs)
	if err != nil {
		return &ArgumentError{err}
	}
	return e.write(&record{values: v, version: givenVersion(&v, 2), mode: modeOf(&v)})
}

// JSON writes one record of the JSON that one is decoded to, or of its values alone.
func (e *Encoder) JSON(text string) error {
	r, err := parseRecord(text)
	if err != nil {
		return err
	}
	return e.write(r)
}

// record is what is to be written.
type record struct {
	values  cmcd.Values
	version int
	mode    cmcd.Mode
}

func parseRecord(text string) (*record, error) {
	var whole line
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		return nil, fmt.Errorf("expected JSON such as {\"values\":{\"sid\":\"a\"}}: %w", err)
	}
	if whole.Values == nil {
		whole = line{Values: json.RawMessage(text)}
	}
	v, err := parseValues(whole.Values)
	if err != nil {
		return nil, err
	}
	r := &record{values: v, version: whole.Version, mode: modeOf(&v)}
	if r.mode, err = parseMode(whole.Mode, r.mode); err != nil {
		return nil, err
	}
	if r.version == 0 {
		r.version = 1 // a record without v is of version 1, which has no event mode
		if r.mode == cmcd.EventMode {
			r.version = 2
		}
		r.version = givenVersion(&v, r.version)
	}
	if r.version != 1 && r.version != 2 {
		return nil, fmt.Errorf("version %d is not known: expected 1 or 2", r.version)
	}
	return r, nil
}

// parseMode returns the mode that is called name; "" is otherwise.
func parseMode(name string, otherwise cmcd.Mode) (cmcd.Mode, error) {
	switch name {
	case "":
		return otherwise, nil
	case cmcd.RequestMode.String():
		return cmcd.RequestMode, nil
	case cmcd.EventMode.String():
		return cmcd.EventMode, nil
	}
	return otherwise, fmt.Errorf("mode %q is not known: expected request or event", clip(name, 20))
}

func givenVersion(v *cmcd.Values, otherwise int) int {
	if v.Has(cmcd.KeyV) {
		return v.Version()
	}
	return otherwise
}

// modeOf returns the mode that a record is of: event if it has what only that mode has.
func modeOf(v *cmcd.Values) cmcd.Mode {
	for k := range v.Keys() {
		if k.In(2, cmcd.EventMode) && !k.In(2, cmcd.RequestMode) {
			return cmcd.EventMode
		}
	}
	return cmcd.RequestMode
}

func parsePairs(args []string) (cmcd.Values, error) {
	written := make([]string, 0, len(args))
	for _, arg := range args {
		name, value, hasValue := strings.Cut(arg, "=")
		name = strings.TrimSpace(name)
		k, known := cmcd.LookupKey(name)
		if !known && !strings.Contains(name, "-") {
			return cmcd.Values{}, unknownKey(name)
		}
		// A shell takes the quotes away.
		text := !known || k.Type() == cmcd.TextType || k.Type() == cmcd.TextListType
		if hasValue && text && !strings.HasPrefix(value, `"`) && !strings.HasPrefix(value, "(") {
			value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
		}
		pair := name
		if hasValue {
			pair += "=" + value
		}
		one, err := cmcd.Parse(pair)
		if err != nil || one.Warnings&cmcd.WarnBadValue != 0 {
			return cmcd.Values{}, fmt.Errorf("%s is not a value that %s can have", clip(arg, 60), name)
		}
		written = append(written, pair)
	}
	return cmcd.Parse(strings.Join(written, ","))
}

func (e *Encoder) write(r *record) error {
	e.n++
	o := &e.options
	version, mode := r.version, r.mode
	if o.Version != 0 {
		version = o.Version
	}
	if version == 1 {
		mode = cmcd.RequestMode // the only one that it has
	}
	mode, err := parseMode(o.Mode, mode)
	if err != nil {
		return &ArgumentError{err}
	}
	if event := mode == cmcd.EventMode; event && o.As != Record && o.As != Body {
		return &ArgumentError{fmt.Errorf("a record of event mode cannot be written as %s: it goes in a body", o.As)}
	} else if !event && o.As == Body {
		return &ArgumentError{errors.New("a record of request mode cannot be written as body: it goes with the request")}
	}
	out := client.Prepare(&r.values, client.Options{Version: version, Mode: mode, BaseURL: o.URL})
	if left := leftOut(&r.values, &out); left != "" {
		fmt.Fprintf(e.warn, "record %d: left out %s: not to be sent in version %d, %s mode, or not with such a value\n", e.n, left, version, mode)
	}
	text, err := e.form(&out)
	if err != nil {
		return err
	}
	_, err = io.WriteString(e.w, text)
	return err
}

func (e *Encoder) form(v *cmcd.Values) (string, error) {
	if v.Len() == 0 && len(v.Custom) == 0 {
		return "", errors.New("nothing of the record may be sent")
	}
	switch e.options.As {
	case Query:
		return v.Query() + "\n", nil
	case URL:
		return withCMCD(e.options.URL, v.Query()) + "\n", nil
	case Headers:
		var b strings.Builder
		if e.n > 1 {
			b.WriteByte('\n')
		}
		h := v.Headers(nil)
		for _, header := range []cmcd.Header{cmcd.ObjectHeader, cmcd.RequestHeader, cmcd.SessionHeader, cmcd.StatusHeader} {
			if value := h.Get(header.String()); value != "" {
				fmt.Fprintf(&b, "%s: %s\n", header, value)
			}
		}
		return b.String(), nil
	case Body:
		// A line feed stands between records only (§3.3).
		if e.n > 1 {
			return "\n" + v.String(), nil
		}
		return v.String(), nil
	default:
		return v.String() + "\n", nil
	}
}

// withCMCD adds the argument to an address, in the place of those that it has.
func withCMCD(address, argument string) string {
	address, fragment, hasFragment := strings.Cut(address, "#")
	address, query, _ := strings.Cut(address, "?")
	if query = cmcd.StripQuery(query); query != "" {
		query += "&"
	}
	address += "?" + query + argument
	if hasFragment {
		address += "#" + fragment
	}
	return address
}

// leftOut names the keys that in has and out has not.
func leftOut(in, out *cmcd.Values) string {
	var names []string
	for k := range in.Keys() {
		if !out.Has(k) && k != cmcd.KeyV {
			names = append(names, k.String())
		}
	}
	for _, c := range in.Custom {
		kept := false
		for _, o := range out.Custom {
			kept = kept || o.Key == c.Key
		}
		if !kept {
			names = append(names, c.Key)
		}
	}
	return strings.Map(func(r rune) rune { // nothing that a terminal could take for a command
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, strings.Join(names, ", "))
}
