package validate

import (
	"bytes"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// MaxIssues is how many issues one call returns at most; the last one says that there were more.
const MaxIssues = 1000

// Severity says how bad an issue is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // against a MUST
	Warning Severity = "warning" // against a SHOULD
)

// Issue is one thing that is wrong.
type Issue struct {
	Record   int      `json:"record"`        // index of the record in a body or JSON array, without empty lines
	Key      string   `json:"key,omitempty"` // "" if it is of no key
	Rule     string   `json:"rule"`          // a stable word, such as "rounding"
	Section  string   `json:"section"`       // such as "CTA-5004-B §4.1 item 10"
	Severity Severity `json:"severity"`
	Message  string   `json:"message"` // what was found, and what was expected
}

// String returns the issue as a line of text.
func (i Issue) String() string {
	of := ""
	if i.Key != "" {
		of = " " + i.Key
	}
	if i.Section == "" {
		return string(i.Severity) + " " + i.Rule + of + ": " + i.Message
	}
	return string(i.Severity) + " " + i.Rule + of + ": " + i.Message + " (" + i.Section + ")"
}

// Options says what a record is to be held against.
type Options struct {
	Version int // 1 or 2; 0 = what the record says
	Mode    cmcd.Mode
}

// HasErrors reports whether there is an error among the issues.
func HasErrors(issues []Issue) bool {
	return slices.ContainsFunc(issues, func(i Issue) bool { return i.Severity == Error })
}

// Record validates one record that is not percent-encoded.
func Record(record string, o Options) []Issue {
	c := checker{options: o}
	c.text(record)
	return c.issues
}

// Headers validates the CMCD headers of a request.
func Headers(h http.Header) []Issue {
	c := checker{}
	if !c.headers(h) {
		c.nothing()
	}
	return c.issues
}

// Query validates the CMCD argument of the query of a request, as it stands in the URL behind the
// question mark.
func Query(rawQuery string) []Issue {
	c := checker{}
	if !c.query(rawQuery) {
		c.nothing()
	}
	return c.issues
}

// Request validates the CMCD of a request. If there are headers, the query is not looked at, as a
// server does (CTA-5004-B §6); but that there is CMCD in both is an error.
func Request(rawQuery string, h http.Header) []Issue {
	c := checker{}
	if c.headers(h) {
		if hasArgument(rawQuery) {
			c.add(ruleBoth, "", "the request has CMCD in its headers and in its query, expected one of them; servers ignore the query")
		}
	} else if !c.query(rawQuery) {
		c.nothing()
	}
	return c.issues
}

// Body validates the body of a report. An empty contentType is not looked at.
func Body(contentType string, body []byte) []Issue {
	c := checker{options: Options{Mode: cmcd.EventMode}}
	if contentType != "" {
		c.mediaType(contentType)
	}
	c.body(body)
	return c.issues
}

// Report validates a whole report: the method and the media type too.
func Report(method, contentType string, body []byte) []Issue {
	c := checker{options: Options{Mode: cmcd.EventMode}}
	if method != http.MethodPost {
		c.add(ruleMethod, "", "the method is %s, expected POST", short(method))
	}
	c.mediaType(contentType)
	c.body(body)
	return c.issues
}

// JSON validates the JSON of version 1: an object with the keys of one record.
func JSON(data []byte) []Issue {
	c := checker{json: true, options: Options{Version: 1}}
	c.objects(data)
	return c.issues
}

func (c *checker) nothing() {
	c.add(ruleNothing, "", "there is no CMCD, expected a CMCD argument in the query or a header such as CMCD-Session")
}

// text checks one record on its own.
func (c *checker) text(record string) {
	c.version = 0
	record = c.encodedTwice(record)
	c.parser.Reset()
	members, errs := c.parser.Dictionary(record)
	if len(members) == 0 && len(errs) == 0 {
		c.add(ruleEmptyRecord, "", "the record is empty, expected keys and values")
		return
	}
	c.record([]part{{members: members, errs: errs}})
}

// headers checks the CMCD headers; false if there is none with anything in it.
func (c *checker) headers(h http.Header) (found bool) {
	names := make([]string, 0, 4)
	for name := range h {
		if len(name) > 5 && strings.EqualFold(name[:5], "CMCD-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var parts []part
	for _, name := range names {
		header := headerOf(name)
		if header == cmcd.NoHeader {
			c.add(ruleNoHeader, "", "there is no CMCD header %s, expected CMCD-Object, CMCD-Request, CMCD-Session or CMCD-Status", short(name))
			continue
		}
		value := strings.Join(h[name], ", ") // lines of one name are one field (RFC 8941 §4.2)
		if strings.TrimSpace(value) == "" {
			c.add(ruleEmptyRecord, "", "%v is empty, expected no such header", header)
			continue
		}
		parts = append(parts, part{header: header, text: c.encodedTwice(value)})
	}
	c.parser.Reset()
	for i := range parts {
		parts[i].members, parts[i].errs = c.parser.Dictionary(parts[i].text)
	}
	if len(parts) > 0 {
		c.record(parts)
	}
	return len(parts) > 0
}

func headerOf(name string) cmcd.Header {
	for _, header := range []cmcd.Header{cmcd.ObjectHeader, cmcd.RequestHeader, cmcd.SessionHeader, cmcd.StatusHeader} {
		if strings.EqualFold(name, header.String()) {
			return header
		}
	}
	return cmcd.NoHeader
}

func (c *checker) mediaType(contentType string) {
	const expected = "expected application/cmcd"
	media, params, err := mime.ParseMediaType(contentType)
	switch {
	case contentType == "":
		c.add(ruleMediaType, "", "there is no media type, %s", expected)
	case err != nil:
		c.add(ruleMediaType, "", "the media type %s cannot be read, %s", short(contentType), expected)
	case media == "text/cmcd":
		c.add(ruleMediaType, "", "the media type is text/cmcd, which was that of CTA-5004-A, %s", expected)
	case media != "application/cmcd":
		c.add(ruleMediaType, "", "the media type is %s, %s", short(media), expected)
	case params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8"):
		c.add(ruleMediaType, "", "the charset is %s, expected UTF-8", short(params["charset"]))
	}
}

// body checks records that are separated by line feeds. What is wrong with the line feeds is said
// once for the whole body.
func (c *checker) body(body []byte) {
	if len(bytes.TrimSpace(body)) == 0 {
		c.add(ruleEmptyBody, "", "the body is empty, expected a record")
		return
	}
	text, ends := strings.CutSuffix(string(body), "\n")
	returns, blanks := false, false
	record := 0
	for line := range strings.SplitSeq(text, "\n") {
		if cut, ok := strings.CutSuffix(line, "\r"); ok {
			line, returns = cut, true
		}
		if line = strings.Trim(line, " "); line == "" { // §3.3: receivers ignore spaces at both ends
			blanks = true
			continue
		}
		if !c.full() {
			c.at = record
			c.text(line)
		}
		record++
	}
	c.at = 0
	if returns {
		c.add(ruleCarriageReturn, "", "records end with CR LF, expected LF between them")
	}
	if blanks {
		c.add(ruleLineFeed, "", "there are empty lines, expected one line feed between records")
	}
	if ends {
		c.add(ruleLineFeed, "", "the body ends with a line feed, expected line feeds only between records")
	}
}
