package validate

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

// vector is a case of the reference library @svta/cml-cmcd, or an example of the specification with
// the answer of the reference.
type vector struct {
	ID, Fn, Direction, Transmission string
	Input                           json.RawMessage
	Options                         struct {
		Version       int
		ReportingMode string
	}
	Expected json.RawMessage
	Newer    json.RawMessage `json:"expected_npm_2_7_0"`
}

// deviations are the vectors where the reference is wrong.
var deviations = map[string]string{
	"cml.cmcd-validateCmcdStructure.014.0": "CTA-5004-B §4.3 Table 1, e: the event b without bg means that the player is no longer in the background; the reference wants bg",
	"cml.cmcd-validateCmcdValues.016.0":    "CTA-5004 §3.2 item 4: version 1 does not say which type a custom key has; the reference applies the rule of version 2",
}

// notInReference are the rules that the reference does not have. What they find is not compared.
var notInReference = map[string]string{
	"order":     "SHOULD of §4.1 item 10",
	"session":   "SHOULD of §4.3",
	"privacy":   "SHOULD NOT of tpb; an example of the specification that shows all keys has it",
	"line_feed": "the reference's own reports end with a line feed; its release 2.7.0 refuses that",
}

// rulesOf are the rules that a function of the reference looks at; a function that is not here
// looks at all.
var rulesOf = map[string][]string{
	"validateCmcdKeys":      {"unknown_key"},
	"validateCmcdValues":    {"type", "boolean", "token", "length", "rounding", "range", "byte_range", "version", "custom", "object_type"},
	"validateCmcdStructure": {"mode", "missing", "event", "version", "needless"},
}

func loadVectors(t *testing.T) []vector {
	t.Helper()
	f, err := os.Open("testdata/vectors.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.NewDecoder(r).Decode(&vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}

func TestVectors(t *testing.T) {
	var agreed, deviating, ofSpec, inexpressible int
	vectors := loadVectors(t)
	for _, vec := range vectors {
		t.Run(vec.ID, func(t *testing.T) {
			var got, want, newer string
			if vec.Direction == "classify" {
				got, want = classify(t, vec), string(vec.Expected)
			} else {
				issues, ok := validateVector(t, vec)
				if !ok {
					inexpressible++
					t.Skip("NaN and infinity cannot be written in a record (RFC 8941 §3.3.2)")
				}
				got, want = summary(issues), expectation(t, vec.Expected)
				if vec.Newer != nil {
					newer = expectation(t, vec.Newer)
				}
			}
			reason := deviations[vec.ID]
			switch {
			case got == want || newer != "" && got == newer:
				agreed++
				if strings.HasPrefix(vec.ID, "spec.") {
					ofSpec++
				}
				if reason != "" {
					t.Errorf("this is no deviation any more: %s", reason)
				}
			default:
				deviating++
				if reason == "" {
					t.Errorf("%s\nis   %s\nwant %s", vec.Input, got, want)
				}
			}
		})
	}
	total := agreed + deviating
	t.Logf("%d vectors: %d agreed (%d of %d of the specification), %d deviating, %d inexpressible: %.2f %%", len(vectors), agreed,
		ofSpec, countSpec(vectors), deviating, inexpressible, 100*float64(agreed)/float64(total))
	if float64(agreed) < 0.99*float64(total) {
		t.Errorf("%d of %d vectors agree, want 99 %%", agreed, total)
	}
	if ofSpec != countSpec(vectors) {
		t.Errorf("%d of %d examples of the specification agree, want all", ofSpec, countSpec(vectors))
	}
}

// TestAllVectors counts over all packages: each has the vectors of its direction, and lists where it deviates
// from the reference.
func TestAllVectors(t *testing.T) {
	ids, deviating := map[string]bool{}, map[string]bool{}
	for _, vec := range loadVectors(t) {
		ids[vec.ID] = true
	}
	for id := range deviations {
		deviating[id] = true
	}
	for _, dir := range []string{"..", "../client", "../cmsd"} {
		data, err := os.ReadFile(dir + "/testdata/vectors.json")
		if err != nil {
			t.Fatal(err)
		}
		var vectors []vector
		if err := json.Unmarshal(data, &vectors); err != nil {
			t.Fatal(err)
		}
		for _, vec := range vectors {
			ids[vec.ID] = true
		}
		source, err := os.ReadFile(dir + "/vectors_test.go")
		if err != nil {
			t.Fatal(err)
		}
		_, list, _ := strings.Cut(string(source), "\nvar deviations = map[string]string{")
		list, _, _ = strings.Cut(list, "}\n")
		for line := range strings.SplitSeq(list, "\n") {
			if id, ok := strings.CutPrefix(line, "\t\""); ok {
				id, _, _ = strings.Cut(id, `"`)
				deviating[id] = true
			}
		}
	}
	for id := range deviating {
		if !ids[id] {
			t.Errorf("%s is no vector", id)
		}
	}
	agreed := 100 - 100*float64(len(deviating))/float64(len(ids))
	own := 0 // of the reference library, without the examples of the specification
	for id := range ids {
		if strings.HasPrefix(id, "cml.") {
			own++
		}
	}
	agreedOwn := 100 - 100*float64(len(deviating))/float64(own)
	t.Logf("%d vectors, %d deviations: %.2f %%; of the reference's own %d: %.2f %%", len(ids), len(deviating), agreed, own, agreedOwn)
	if len(ids) != 557 || agreedOwn < 99 {
		t.Errorf("%d of 557 vectors; of the reference's own %.2f %% agree, want 99 %%", len(ids), agreedOwn)
	}
}

func countSpec(vectors []vector) (n int) {
	for _, vec := range vectors {
		if strings.HasPrefix(vec.ID, "spec.") {
			n++
		}
	}
	return n
}

// expectation is the reference's answer: whether the input is valid, and the keys with issues.
func expectation(t *testing.T, answer json.RawMessage) string {
	t.Helper()
	var want struct {
		Valid  bool
		Issues []struct{ Key, Severity string }
	}
	if err := json.Unmarshal(answer, &want); err != nil {
		t.Fatal(err)
	}
	issues := []string{}
	for _, issue := range want.Issues {
		issues = append(issues, issue.Severity+" "+issue.Key)
	}
	return sorted(want.Valid, issues)
}

func summary(issues []Issue) string {
	list := []string{}
	for _, issue := range issues {
		list = append(list, string(issue.Severity)+" "+issue.Key)
	}
	return sorted(!HasErrors(issues), list)
}

func sorted(valid bool, issues []string) string {
	slices.Sort(issues)
	return fmt.Sprintf("valid %t: %s", valid, strings.Join(slices.Compact(issues), ", "))
}

// validateVector returns the issues of those rules that the reference's function looks at; false if
// the input cannot be written.
func validateVector(t *testing.T, vec vector) ([]Issue, bool) {
	t.Helper()
	o := Options{Version: vec.Options.Version}
	hasMode := vec.Options.ReportingMode != ""
	if vec.Options.ReportingMode == "event" {
		o.Mode = cmcd.EventMode
	}
	var issues []Issue
	switch vec.Transmission {
	case "object":
		record, hasEvent, ok := write(t, vec.Input)
		if !ok {
			return nil, false
		}
		if !hasMode && hasEvent { // without a mode the reference takes keys of any
			o.Mode = cmcd.EventMode
		}
		issues = Record(record, o)
	case "string":
		issues = Record(text(t, vec.Input), o)
	case "body":
		issues, hasMode = Body("", []byte(text(t, vec.Input))), true
	case "body+http":
		issues, hasMode = report(t, vec.Input), true
	default:
		issues, hasMode = request(t, vec.Input), true
	}
	return slices.DeleteFunc(issues, func(i Issue) bool {
		rules, some := rulesOf[vec.Fn]
		switch {
		case notInReference[i.Rule] != "":
			return true
		case i.Rule == "empty" && i.Severity == Warning: // nothing there: the reference has nothing to say
			return true
		case i.Rule == "missing" && i.Key == "v" && vec.Transmission == "object" && o.Version != 2:
			return true // the reference takes what has no v for version 1, in event mode too
		case i.Rule == "missing" && !hasMode && (i.Key == "e" || i.Key == "ts"):
			return true
		case vec.Fn == "validateCmcdStructure" && i.Rule == "unknown_key":
			// Of keys of event mode in version 1 the reference says that they are not of the mode, this
			// package that they are not of the version.
			k, ok := cmcd.LookupKey(i.Key)
			return !ok || k.In(2, cmcd.RequestMode)
		}
		return some && !slices.Contains(rules, i.Rule)
	}), true
}

func text(t *testing.T, input json.RawMessage) (s string) {
	t.Helper()
	if err := json.Unmarshal(input, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func report(t *testing.T, input json.RawMessage) []Issue {
	t.Helper()
	r := struct {
		Method, Body string
		Headers      map[string]string
	}{Method: "GET"}
	if err := json.Unmarshal(input, &r); err != nil {
		t.Fatal(err)
	}
	return Report(r.Method, r.Headers["Content-Type"], []byte(r.Body))
}

func request(t *testing.T, input json.RawMessage) []Issue {
	t.Helper()
	type httpRequest struct {
		URL     string
		Headers map[string]string
	}
	r := struct {
		httpRequest
		Inner httpRequest `json:"$request"`
	}{}
	if err := json.Unmarshal(input, &r); err != nil {
		t.Fatal(err)
	}
	isRequest := true
	if r.Inner.URL != "" {
		r.httpRequest = r.Inner
	}
	if r.URL == "" { // the headers alone
		isRequest = false
		if err := json.Unmarshal(input, &r.Headers); err != nil {
			t.Fatal(err)
		}
	}
	h := http.Header{}
	for name, value := range r.Headers {
		h[name] = []string{value}
	}
	if !isRequest {
		return Headers(h)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return Request(u.RawQuery, h)
}

// write writes the record of an object of the reference, with its keys in order; false if a record
// cannot have that.
func write(t *testing.T, input json.RawMessage) (record string, hasEvent, ok bool) {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(input, &object); err != nil {
		t.Fatal(err)
	}
	members := []string{}
	for name, x := range object {
		k, known := cmcd.LookupKey(name)
		value, ok := writeValue(x, known && k.Type() == cmcd.TokenType)
		if !ok {
			return "", false, false
		}
		if value == "?1" {
			members = append(members, name)
		} else {
			members = append(members, name+"="+value)
		}
	}
	slices.Sort(members)
	_, hasEvent = object["e"]
	return strings.Join(members, ","), hasEvent, true
}

func writeValue(x any, token bool) (string, bool) {
	switch x := x.(type) {
	case bool:
		if x {
			return "?1", true
		}
		return "?0", true
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64), true
	case string:
		if token {
			return x, true
		}
		return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(x) + `"`, true
	case []any:
		items := make([]string, len(x))
		for i := range x {
			items[i], _ = writeValue(x[i], token)
		}
		return "(" + strings.Join(items, " ") + ")", true
	default:
		return "", false
	}
}

// classify answers a question of the reference about a key, or about the version of an object.
func classify(t *testing.T, vec vector) string {
	t.Helper()
	if vec.Fn == "isCmcdV1Data" || vec.Fn == "isCmcdV2Data" {
		record, _, _ := write(t, vec.Input)
		v, err := cmcd.Parse(record)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatBool(v.Version() == 1 == (vec.Fn == "isCmcdV1Data"))
	}
	name := text(t, vec.Input)
	k, known := cmcd.LookupKey(name)
	custom := cmcd.IsCustomKey(name)
	switch vec.Fn {
	case "isCmcdCustomKey", "isCmsdCustomKey": // the rules are the same
	case "isCmcdEventKey":
		custom = custom || known && k.In(2, cmcd.EventMode)
	case "isCmcdRequestKey":
		custom = custom || known && k.In(2, cmcd.RequestMode)
	case "isCmcdV1Key":
		custom = custom || known && k.In(1, cmcd.RequestMode)
	case "isCmcdResponseReceivedKey":
		custom = known && k.ResponseOnly()
	default:
		t.Fatalf("there is no function %s", vec.Fn)
	}
	return strconv.FormatBool(custom)
}
