package conformance

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// Each required test that does not pass has its reason written down, with the section that allows or
// demands what the edge does instead; and nothing else has.
func TestEveryFailureIsExplained(t *testing.T) {
	const explanations = "testdata/explained.txt"
	text, err := os.ReadFile(explanations)
	if err != nil {
		t.Fatal(err)
	}
	reasons := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, reason, _ := strings.Cut(line, " ")
		if reasons[id] != "" {
			t.Errorf("%s is explained twice", id)
		}
		if reasons[id] = strings.TrimSpace(reason); !strings.Contains(reason, "§") {
			t.Errorf("the reason for %s is %q; a section is expected in it", id, reason)
		}
	}
	failed := make(map[string]bool)
	for _, name := range []string{"testdata/cache-tests.txt", "testdata/cache-tests-head.txt"} {
		table, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			fields := strings.Fields(line)
			if len(fields) != 3 || fields[1] != string(required) || !slices.Contains(failures, outcome(fields[2])) {
				continue
			}
			failed[fields[0]] = true
			if reasons[fields[0]] == "" {
				t.Errorf("%s: %s is required and does not pass (%s); %s says nothing of it", name, fields[0], fields[2], explanations)
			}
		}
	}
	for id := range reasons {
		if !failed[id] {
			t.Errorf("%s explains %s, which passes or is no required test", explanations, id)
		}
	}
}

// failures are the outcomes that are to be explained.
var failures = []outcome{fail, dependency, setup, retried, harness, untested}
