package cmcdtool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/client"
)

// Encoding says how records are written.
type Encoding struct {
	As Form
	// URL is the address that gets the record as its CMCD argument, and that nor is made relative to.
	URL string
	// Version is 1 or 2, 0 for that of the record.
	Version int
	// Mode is "request", "event", or "" for that of the record.
	Mode string
}

// check completes the encoding, or says what is wrong with it.
func (e *Encoding) check() error {
	if e.As == "" {
		e.As = Record
		if e.URL != "" {
			e.As = URL
		}
	}
	if e.URL != "" {
		u, err := url.Parse(e.URL)
		if err != nil || !u.IsAbs() || u.Host == "" {
			return &ArgumentError{fmt.Errorf("--url %q is not an address such as https://cdn.example/a.m4s", e.URL)}
		}
	}
	switch {
	case e.As == URL && e.URL == "":
		return &ArgumentError{errors.New("--as url needs --url, the address to add the CMCD argument to")}
	case e.Version == 1 && e.Mode == cmcd.EventMode.String():
		return &ArgumentError{errors.New("version 1 has no event mode")}
	}
	return nil
}

// Encode prepares the records of the input as a player must and writes them. Args are pairs such as
// br=3000; without any, the input is the JSON that [Decode] writes, or its values alone. What cannot
// be sent is left out, and named on warn.
func Encode(ctx context.Context, w, warn io.Writer, in Input, e Encoding) error {
	if err := e.check(); err != nil {
		return err
	}
	if len(in.Args) > 0 && in.Args[0] != "-" && !strings.HasPrefix(strings.TrimSpace(in.Args[0]), "{") {
		v, err := pairs(in.Args)
		if err != nil {
			return &ArgumentError{err}
		}
		return e.write(w, warn, &record{values: v, version: givenVersion(&v, 2), mode: modeOf(&v)}, 1)
	}
	in.As = JSON
	passed, n := 0, 0
	for p, err := range in.pieces(ctx, &passed) {
		if err != nil {
			return err
		}
		r, err := parseRecord(p.Text)
		if err == nil {
			n++
			err = e.write(w, warn, r, n)
		}
		if err != nil {
			if place := p.String(); place != "" {
				err = fmt.Errorf("%s: %w", place, err)
			}
			return err
		}
	}
	if n == 0 {
		return errors.New("nothing to encode: the input is empty")
	}
	return nil
}

// record is what is to be written.
type record struct {
	values  cmcd.Values
	version int
	mode    cmcd.Mode
}

// parseRecord reads a line of JSON that Decode has written, or its values alone.
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

func modeOf(v *cmcd.Values) cmcd.Mode {
	if isEvent(v) {
		return cmcd.EventMode
	}
	return cmcd.RequestMode
}

// pairs reads arguments such as br=3000, sid=abc and bs.
func pairs(args []string) (cmcd.Values, error) {
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

func (e *Encoding) write(w, warn io.Writer, r *record, n int) error {
	version, mode := r.version, r.mode
	if e.Version != 0 {
		version = e.Version
	}
	if version == 1 {
		mode = cmcd.RequestMode // the only one that it has
	}
	mode, err := parseMode(e.Mode, mode)
	if err != nil {
		return &ArgumentError{err}
	}
	if event := mode == cmcd.EventMode; event && e.As != Record && e.As != Body {
		return &ArgumentError{fmt.Errorf("a record of event mode cannot be written as %s: it goes in a body", e.As)}
	} else if !event && e.As == Body {
		return &ArgumentError{errors.New("a record of request mode cannot be written as body: it goes with the request")}
	}
	out := client.Prepare(&r.values, client.Options{Version: version, Mode: mode, BaseURL: e.URL})
	if left := leftOut(&r.values, &out); left != "" {
		fmt.Fprintf(warn, "record %d: left out %s: not to be sent in version %d, %s mode, or not with such a value\n", n, left, version, mode)
	}
	text, err := e.form(&out, n)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}

func (e *Encoding) form(v *cmcd.Values, n int) (string, error) {
	if v.Len() == 0 && len(v.Custom) == 0 {
		return "", errors.New("nothing of the record may be sent")
	}
	switch e.As {
	case Query:
		return v.Query() + "\n", nil
	case URL:
		return withCMCD(e.URL, v.Query()) + "\n", nil
	case Headers:
		var b strings.Builder
		if n > 1 {
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
		if n > 1 {
			return "\n" + v.String(), nil
		}
		return v.String(), nil
	default:
		return v.String() + "\n", nil
	}
}

// withCMCD adds the argument to an address, in the place of those that it has.
func withCMCD(address, argument string) string {
	address = withoutCMCD(address)
	address, fragment, hasFragment := strings.Cut(address, "#")
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	address += separator + argument
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
	return printable(strings.Join(names, ", "))
}
