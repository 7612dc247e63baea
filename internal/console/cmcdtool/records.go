package cmcdtool

import (
	"errors"
	"iter"
	"net/url"
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/validate"
)

// Found is one record that was found, in the form in which machines read it.
type Found struct {
	Version  int            `json:"version,omitempty"` // none if the record cannot be read
	Mode     string         `json:"mode"`
	Values   map[string]any `json:"values"`
	Warnings []string       `json:"warnings"`
	// Issues is nil if nobody has looked for any.
	Issues []Issue `json:"issues,omitzero"`
	// Error says why there are no values.
	Error string `json:"error,omitempty"`
	Place

	values cmcd.Values
}

// Issue is one thing that is wrong with a record.
type Issue struct {
	Severity string `json:"severity"` // "error" or "warning"
	Key      string `json:"key,omitempty"`
	Rule     string `json:"rule"`
	Section  string `json:"section,omitempty"`
	Message  string `json:"message"`
}

// Look says how to look at pieces.
type Look struct {
	// Validate looks for issues.
	Validate bool
	// Mode is that of records on their own: "request", "event", or "" to find it out.
	Mode string
	// PercentDecodings is how often a query is decoded, for logs that encode it once more; 0 is once.
	PercentDecodings int
}

// Records iterates over the records of the piece: one, but for bodies and JSON.
func (p *Piece) Records(look Look) iter.Seq[Found] {
	return func(yield func(Found) bool) {
		switch p.Form {
		case Record:
			p.record(look, yield)
		case Body:
			p.body(look, yield)
		case JSON:
			p.json(look, yield)
		default:
			p.request(look, yield)
		}
	}
}

func (p *Piece) request(look Look, yield func(Found) bool) {
	decoder := cmcd.Decoder{PercentDecodings: look.PercentDecodings}
	values, ok := decoder.FromRequest(p.RawQuery, p.Header)
	err := error(nil)
	if !ok {
		err = cmcd.ErrNoKeys
		values = &cmcd.Values{}
	}
	if values.Has(cmcd.KeyE) && len(p.Header) == 0 {
		f := p.found(values, err, cmcd.EventMode)
		if look.Validate {
			f.Issues = listed(p.report())
		}
		yield(f)
		return
	}
	f := p.found(values, err, cmcd.RequestMode)
	if look.Validate {
		f.Issues = listed(validate.Request(p.RawQuery, p.Header))
	}
	yield(f)
}

// report is what is wrong with a report that stands in a query. Players send such that cannot post: what
// they say is judged as a report, and how they say it as one mistake.
func (p *Piece) report() []validate.Issue {
	issues := []validate.Issue{{
		Rule: "method", Section: "CTA-5004-B §3.3", Severity: validate.Error,
		Message: "the report is in the query of a request, expected it as the body of a POST",
	}}
	for _, issue := range validate.Query(p.RawQuery) {
		if issue.Rule == "encoding" || issue.Rule == "repeated" || issue.Rule == "argument" {
			issues = append(issues, issue)
		}
	}
	record := ""
	for argument := range strings.SplitSeq(p.RawQuery, "&") {
		if value, ok := strings.CutPrefix(argument, "CMCD="); ok { // of several, the decoder takes the last
			record = value
		}
	}
	if decoded, err := url.QueryUnescape(record); err == nil {
		record = decoded
	}
	return append(issues, validate.Record(record, validate.Options{Mode: cmcd.EventMode})...)
}

func (p *Piece) record(look Look, yield func(Found) bool) {
	values, err := cmcd.Parse(p.Text)
	mode := cmcd.RequestMode
	if look.Mode == cmcd.EventMode.String() || look.Mode == "" && isEvent(&values) {
		mode = cmcd.EventMode
	}
	f := p.found(&values, err, mode)
	if look.Validate {
		f.Issues = listed(validate.Record(p.Text, validate.Options{Mode: mode}))
	}
	yield(f)
}

// isEvent reports whether a record has what only event mode has.
func isEvent(v *cmcd.Values) bool {
	for k := range v.Keys() {
		if k.In(2, cmcd.EventMode) && !k.In(2, cmcd.RequestMode) {
			return true
		}
	}
	return false
}

func (p *Piece) body(look Look, yield func(Found) bool) {
	var issues []validate.Issue
	if look.Validate {
		issues = validate.Body(p.ContentType, []byte(p.Text))
	}
	p.several(cmcd.ParseBody([]byte(p.Text)), cmcd.EventMode, look, issues, yield)
}

func (p *Piece) json(look Look, yield func(Found) bool) {
	var issues []validate.Issue
	if look.Validate {
		issues = validate.JSON([]byte(p.Text))
	}
	p.several(cmcd.ParseJSON([]byte(p.Text)), cmcd.RequestMode, look, issues, yield)
}

func (p *Piece) several(records iter.Seq2[cmcd.Values, error], mode cmcd.Mode, look Look, all []validate.Issue, yield func(Found) bool) {
	issues := byRecord(all)
	i := 0
	one := func(v cmcd.Values, err error) bool {
		f := p.found(&v, err, mode)
		if p.Form == Body || strings.HasPrefix(p.Text, "[") {
			f.Record = i + 1
		}
		if look.Validate {
			f.Issues = []Issue{}
			if i < len(issues) {
				f.Issues = listed(issues[i])
			}
		}
		i++
		return yield(f)
	}
	for v, err := range records {
		if !one(v, err) {
			return
		}
	}
	if i == 0 && len(issues) > 0 { // an empty body is wrong all the same
		one(cmcd.Values{}, cmcd.ErrNoKeys)
	}
}

func byRecord(issues []validate.Issue) [][]validate.Issue {
	var all [][]validate.Issue
	for _, issue := range issues {
		for len(all) <= issue.Record {
			all = append(all, nil)
		}
		all[issue.Record] = append(all[issue.Record], issue)
	}
	return all
}

// listed returns the issues of one record; none are a list that is written as [].
func listed(issues []validate.Issue) []Issue {
	list := make([]Issue, len(issues))
	for i, issue := range issues {
		list[i] = Issue{Severity: string(issue.Severity), Key: issue.Key, Rule: issue.Rule, Section: issue.Section, Message: issue.Message}
	}
	return list
}

func (p *Piece) found(v *cmcd.Values, err error, mode cmcd.Mode) Found {
	f := Found{Mode: mode.String(), Values: map[string]any{}, Warnings: []string{}, Place: p.Place}
	switch {
	case errors.Is(err, cmcd.ErrVersion):
		f.Error = "the record is of a version above 2"
	case errors.Is(err, cmcd.ErrNoKeys):
		f.Error = "the record has no usable key"
	case err != nil:
		f.Error = err.Error()
	default:
		f.Version, f.values = v.Version(), *v
		f.Values = valuesOf(v)
		f.Warnings = append(f.Warnings, v.Warnings.Names()...)
	}
	return f
}
