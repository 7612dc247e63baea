package cmcdtool

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// Form is a way in which CMCD is written down.
type Form string

// The forms. [HAR] is a whole input, never a piece of one.
const (
	URL     Form = "url"
	Query   Form = "query"
	Headers Form = "headers"
	Record  Form = "record"
	Body    Form = "body"
	JSON    Form = "json"
	HAR     Form = "har"
)

// inputForms are what can be read.
var inputForms = []Form{URL, Query, Headers, Record, Body, JSON, HAR}

// ParseInputForm returns the form that is called name; "" is to be found out.
func ParseInputForm(name string) (Form, error) {
	if name == "" || slices.Contains(inputForms, Form(name)) {
		return Form(name), nil
	}
	names := make([]string, len(inputForms))
	for i, f := range inputForms {
		names[i] = string(f)
	}
	return "", fmt.Errorf("%q is not one of %s", name, strings.Join(names, ", "))
}

// detect tells the form of a line, and which part of it is the CMCD; "" if there is none in it. JSON,
// bodies and HAR files are more than a line and are not told here.
func detect(line string) (Form, string) {
	if begin := strings.TrimLeft(line, ", "); beginsRecord(begin) {
		return Record, line
	}
	return detectArgument(line)
}

// detectArgument is detect for what is no record.
func detectArgument(line string) (Form, string) {
	if at := argument(line); at >= 0 {
		return cut(line, at)
	}
	return "", ""
}

// cut takes the address or query with the CMCD argument at position at out of a line, such as one of
// a log of requests.
func cut(line string, at int) (Form, string) {
	start, end := 0, len(line)
	if n := strings.LastIndexAny(line[:at], " \t\"'<>"); n >= 0 {
		start = n + 1
		if quote := strings.IndexByte(`"'<`, line[n]); quote >= 0 {
			if n := strings.IndexByte(line[at:], `"'>`[quote]); n >= 0 {
				end = at + n
			}
		}
	}
	if n := strings.IndexAny(line[at:end], " \t"); n >= 0 {
		end = at + n
	}
	if n := strings.IndexByte(line[start:at], '?'); n > 0 {
		return URL, line[start:end]
	}
	return Query, strings.TrimPrefix(line[start:end], "?")
}

// argument returns where the first CMCD argument of a query begins, -1 if line has none.
func argument(line string) int {
	for from := 0; ; {
		n := strings.Index(line[from:], "CMCD=")
		if n < 0 {
			return -1
		}
		n += from
		if n == 0 || strings.IndexByte("?& \t\"'", line[n-1]) >= 0 {
			return n
		}
		from = n + len("CMCD=")
	}
}

// beginsRecord reports whether line begins as a record does: with a key of CMCD. A query can begin
// with an argument of the same name, but then an & comes before anything that only records have. Prose
// can begin with the same letters: without a value, all keys must be such as have none.
func beginsRecord(line string) bool {
	if at := strings.Index(line, "&CMCD="); at >= 0 && !strings.ContainsAny(line[:at], `,"(;`) {
		return false
	}
	booleans := false
	for pair := range strings.SplitSeq(line, ",") {
		n := strings.IndexAny(pair, "=;")
		if n < 0 {
			n = len(pair)
		}
		name := strings.Trim(pair[:n], " ")
		k, known := cmcd.LookupKey(name)
		hasValue := n < len(pair) && pair[n] == '='
		switch {
		case !known && (!cmcd.IsCustomKey(name) || !hasValue && !booleans):
			return false
		case hasValue:
			return true
		case known && k.Type() == cmcd.BoolType:
			booleans = true
		case known:
			booleans = false
		}
	}
	return booleans
}

// beginsJSON reports whether line begins as an object or an array of objects does. Lines of logs can
// begin with the same brackets.
func beginsJSON(line string) bool {
	rest := strings.TrimLeft(line[1:], " \t")
	return rest == "" && strings.IndexByte("{[", line[0]) >= 0 ||
		rest != "" && (line[0] == '{' && strings.IndexByte(`"}`, rest[0]) >= 0 || line[0] == '[' && strings.IndexByte("{]", rest[0]) >= 0)
}

// headerLine splits a line such as "CMCD-Request: bl=100".
func headerLine(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ":")
	if !ok || name == "" || strings.HasPrefix(value, "//") { // an address
		return "", "", false
	}
	for i := range len(name) {
		if c := name[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "", "", false
		}
	}
	return name, strings.TrimSpace(value), true
}

// isHeader reports whether a header is one of the four of CMCD.
func isHeader(name string) bool {
	switch strings.ToLower(name) {
	case "cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status":
		return true
	}
	return false
}

// requestLine returns the target of the first line of a request's head, such as "GET /a.m4s HTTP/1.1".
func requestLine(line string) (target string, ok bool) {
	method, rest, _ := strings.Cut(line, " ")
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions:
	default:
		return "", false
	}
	target, protocol, ok := strings.Cut(rest, " ")
	return target, target != "" && (!ok || strings.HasPrefix(protocol, "HTTP/") && !strings.Contains(protocol, " "))
}

// queryOf returns the query of an address as it is written.
func queryOf(address string) string {
	address, _, _ = strings.Cut(address, "#")
	_, query, _ := strings.Cut(address, "?")
	return query
}

// withoutCMCD returns an address without its CMCD arguments, for people to know an object by.
func withoutCMCD(address string) string {
	before, query, ok := strings.Cut(address, "?")
	if !ok {
		return address
	}
	query, fragment, hasFragment := strings.Cut(query, "#")
	if query = cmcd.StripQuery(query); query != "" {
		before += "?" + query
	}
	if hasFragment {
		before += "#" + fragment
	}
	return before
}
