package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// What the suite says of its tests.
type (
	category struct {
		ID    string     `json:"id"`
		Tests []testCase `json:"tests"`
	}
	testCase struct {
		ID        string   `json:"id"`
		Kind      kind     `json:"kind"`
		DependsOn []string `json:"depends_on"`
	}
	kind string
)

const (
	required kind = "required" // an RFC says so
	optimal  kind = "optimal"  // the cache could have been used
	check    kind = "check"    // a question, to which no answer is wrong
)

var kinds = []kind{required, optimal, check}

// result is what the suite's client found: passed, or the name of an error and what it says.
type result struct {
	passed         bool
	name, message  string
	harnessFailure bool // neither: the client itself went wrong
}

func (r *result) UnmarshalJSON(data []byte) error {
	var passed bool
	if json.Unmarshal(data, &passed) == nil {
		*r = result{passed: passed, harnessFailure: !passed}
		return nil
	}
	var said []string
	if err := json.Unmarshal(data, &said); err != nil || len(said) == 0 {
		return fmt.Errorf("a result is %s; true or [name, message] is expected", data)
	}
	*r = result{name: said[0], message: strings.Join(said[1:], " "), harnessFailure: said[0] == "AbortError"}
	return nil
}

// outcome is what a result counts as.
type outcome string

const (
	pass       outcome = "pass"       // of a question: yes
	fail       outcome = "fail"       // of a question: no
	dependency outcome = "dependency" // a test on which this one stands did not pass
	setup      outcome = "setup"      // the cache did not do what the test begins with
	retried    outcome = "retried"    // the cache sent a request twice
	harness    outcome = "harness"    // the client gave up
	untested   outcome = "untested"
)

// judge applies the suite's own rules (determineTestResult): what depends on a test that did not pass has
// not passed, whatever the client found.
func judge(suite []category, results map[string]result) map[string]outcome {
	tests := make(map[string]testCase)
	for _, c := range suite {
		for _, test := range c.Tests {
			tests[test.ID] = test
		}
	}
	outcomes := make(map[string]outcome)
	var of func(id string) outcome
	of = func(id string) outcome {
		if known, ok := outcomes[id]; ok {
			return known
		}
		r, ok := results[id]
		o := fail
		switch {
		case !ok:
			o = untested
		case slices.ContainsFunc(tests[id].DependsOn, func(other string) bool { return of(other) != pass }):
			o = dependency
		case r.name == "Setup" && r.message == "retry":
			o = retried
		case r.name == "Setup":
			o = setup
		case r.harnessFailure:
			o = harness
		case r.passed:
			o = pass
		}
		outcomes[id] = o
		return o
	}
	for id := range tests {
		of(id)
	}
	return outcomes
}

// tally is how many tests of each kind there are and have passed.
type tally map[kind]*struct{ passed, of int }

func count(outcomes map[string]outcome, tests ...testCase) tally {
	n := tally{}
	for _, k := range kinds {
		n[k] = &struct{ passed, of int }{}
	}
	for _, test := range tests {
		n[test.Kind].of++
		if outcomes[test.ID] == pass {
			n[test.Kind].passed++
		}
	}
	return n
}

func (n tally) cell(k kind) string {
	if n[k].of == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", n[k].passed, n[k].of)
}

// whole counts all tests of a suite.
func whole(suite []category, outcomes map[string]outcome) tally {
	var all []testCase
	for _, c := range suite {
		all = append(all, c.Tests...)
	}
	return count(outcomes, all...)
}

// summary is the table by category.
func summary(suite []category, outcomes map[string]outcome) string {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(name string, n tally) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, n.cell(required), n.cell(optimal), n.cell(check))
	}
	fmt.Fprintln(w, "category\trequired\toptimal\tcheck")
	for _, c := range suite {
		if len(c.Tests) > 0 {
			row(c.ID, count(outcomes, c.Tests...))
		}
	}
	row("total", whole(suite, outcomes))
	w.Flush()
	return text.String()
}

// The table that is committed: the summary, then the outcome of each test.

const testsBegin = "test"

func writeTable(w io.Writer, title string, suite []category, outcomes map[string]outcome) {
	fmt.Fprintf(w, "# %s\n\n%s\n", title, summary(suite, outcomes))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s\tkind\toutcome\n", testsBegin)
	for _, c := range suite {
		for _, test := range c.Tests {
			fmt.Fprintf(t, "%s\t%s\t%s\n", test.ID, test.Kind, outcomes[test.ID])
		}
	}
	t.Flush()
}

// readTable returns the outcomes of a committed table.
func readTable(r io.Reader) (map[string]outcome, error) {
	outcomes := make(map[string]outcome)
	lines := bufio.NewScanner(r)
	begun := false
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 3 && fields[0] == testsBegin && fields[2] == "outcome":
			begun = true
		case !begun || len(fields) == 0:
		case len(fields) != 3:
			return nil, fmt.Errorf("a line of the table is %q; a test, its kind and its outcome are expected", lines.Text())
		default:
			outcomes[fields[0]] = outcome(fields[2])
		}
	}
	if !begun {
		return nil, fmt.Errorf("the table has no line that begins with %q", testsBegin)
	}
	return outcomes, lines.Err()
}

// regressions returns the tests, required and optimal, that passed according to the table and do not now,
// and those of them and of what they depend on that are to be run again to be sure.
func regressions(suite []category, before, now map[string]outcome) (lost, again []string) {
	tests := make(map[string]testCase)
	for _, c := range suite {
		for _, test := range c.Tests {
			tests[test.ID] = test
		}
	}
	repeat := make(map[string]bool)
	var why func(id string)
	why = func(id string) {
		repeat[id] = true
		for _, other := range tests[id].DependsOn {
			if now[other] != pass {
				why(other)
			}
		}
	}
	for _, c := range suite {
		for _, test := range c.Tests {
			if test.Kind != check && before[test.ID] == pass && now[test.ID] != pass {
				lost = append(lost, test.ID)
				why(test.ID)
			}
		}
	}
	return lost, slices.Sorted(maps.Keys(repeat))
}

func TestScoring(t *testing.T) {
	suite := []category{
		{ID: "stored", Tests: []testCase{
			{ID: "plain", Kind: check},
			{ID: "fresh", Kind: optimal, DependsOn: []string{"plain"}},
			{ID: "stale", Kind: required, DependsOn: []string{"fresh"}},
			{ID: "other", Kind: required},
		}},
		{ID: "sent", Tests: []testCase{
			{ID: "twice", Kind: required},
			{ID: "begun", Kind: required},
			{ID: "broken", Kind: required},
			{ID: "aborted", Kind: optimal},
			{ID: "left out", Kind: optimal},
		}},
	}
	read := func(text string) map[string]result {
		var results map[string]result
		if err := json.Unmarshal([]byte(text), &results); err != nil {
			t.Fatal(err)
		}
		return results
	}
	const rest = `"other": true, "twice": ["Setup", "retry"], "begun": ["Setup", "Response 1 status is 500"],
		"broken": false, "aborted": ["AbortError", "timeout"]`
	outcomes := judge(suite, read(`{"plain": true, "fresh": true, "stale": ["Assertion", "Response 2 comes from cache"], `+rest+`}`))
	for id, want := range map[string]outcome{
		"plain": pass, "fresh": pass, "stale": fail, "other": pass,
		"twice": retried, "begun": setup, "broken": harness, "aborted": harness, "left out": untested,
	} {
		if outcomes[id] != want {
			t.Errorf("%s is %s, want %s", id, outcomes[id], want)
		}
	}
	// What a test stands on takes it along, over several steps, although the client found it good.
	worse := judge(suite, read(`{"plain": ["Assertion", "x"], "fresh": true, "stale": true, `+rest+`}`))
	if worse["fresh"] != dependency || worse["stale"] != dependency {
		t.Errorf("fresh is %s and stale is %s without what they stand on", worse["fresh"], worse["stale"])
	}
	if n := whole(suite, outcomes); n.cell(required) != "1/5" || n.cell(optimal) != "1/3" || n.cell(check) != "1/1" {
		t.Errorf("the whole is %s, %s and %s", n.cell(required), n.cell(optimal), n.cell(check))
	}
	before, err := readTable(strings.NewReader("# title\n\ncategory required\nstored 1/2\n\ntest kind outcome\nfresh optimal pass\nstale required pass\nplain check pass\n"))
	if err != nil {
		t.Fatal(err)
	}
	lost, again := regressions(suite, before, worse)
	if fmt.Sprint(lost) != "[fresh stale]" || fmt.Sprint(again) != "[fresh plain stale]" {
		t.Errorf("lost are %v and to be run again %v", lost, again)
	}
}

func TestTableIsReadAsItWasWritten(t *testing.T) {
	suite := []category{{ID: "a", Tests: []testCase{{ID: "x", Kind: required}, {ID: "y", Kind: optimal}}}}
	outcomes := map[string]outcome{"x": pass, "y": setup}
	var text bytes.Buffer
	writeTable(&text, "a suite", suite, outcomes)
	got, err := readTable(&text)
	if err != nil || !maps.Equal(got, outcomes) {
		t.Errorf("read %v, %v; want %v", got, err, outcomes)
	}
	if _, err := readTable(strings.NewReader("nothing")); err == nil {
		t.Error("a file that is no table was read")
	}
}
