package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Interim answers, RFC 9110 §15.2 and RFC 8297: they are for the viewer who waits, and never stored.
func TestInterimAnswers(t *testing.T) {
	const hint = "</main.css>; rel=preload; as=style"
	fresh := []string{"Cache-Control: max-age=100000", "Date: {date}"}
	origin := newOrigin(t)
	base := startEdge(t, origin.URL)
	viewer := client(t)
	for i, test := range []struct {
		rule   string
		first  answer
		status []int // of the interim answers
	}{
		{"102 is passed on", answer{interim: []interim{{status: http.StatusProcessing}}, fields: fresh}, []int{102}},
		{"103 is passed on", answer{interim: []interim{{http.StatusEarlyHints, []string{"Link: " + hint, "X-Early: yes"}}}, fields: fresh}, []int{103}},
		{"several are passed on in their order", answer{interim: []interim{
			{status: http.StatusProcessing}, {http.StatusEarlyHints, []string{"Link: " + hint}}, {http.StatusEarlyHints, []string{"Link: " + hint, "X-Early: yes"}},
		}, fields: fresh}, []int{102, 103, 103}},
		{"an answer without any has none", answer{fields: fresh}, nil},
	} {
		t.Run(test.rule, func(t *testing.T) {
			path := "/interim/" + strconv.Itoa(i)
			origin.says(path, test.first)
			s := get(t, viewer, base+path, nil)
			if s.status != http.StatusOK || s.serial != "1" {
				t.Fatalf("the final answer is %d, answer %q", s.status, s.serial)
			}
			if !slices.Equal(s.interim, test.status) {
				t.Errorf("the interim answers are %v, want %v", s.interim, test.status)
			}
			for n, early := range s.early {
				for _, field := range test.first.interim[n].fields {
					name, value, _ := strings.Cut(field, ": ")
					if got := early.Get(name); got != value {
						t.Errorf("RFC 8297 §2: %s of interim answer %d is %q, want %q", name, n+1, got, value)
					}
				}
			}
			again := get(t, viewer, base+path, nil)
			if again.serial != "1" || origin.requests(path) != 1 {
				t.Errorf("RFC 9111 §3: the final answer was not stored: answer %q after %d requests to the origin", again.serial, origin.requests(path))
			}
			if len(again.interim) != 0 {
				t.Errorf("RFC 9111 §3: interim answers came from the cache: %v", again.interim)
			}
			for _, final := range []seen{s, again} {
				for _, name := range []string{"Link", "X-Early"} {
					if got := final.header.Values(name); len(got) != 0 {
						t.Errorf("RFC 8297 §2: %s of an interim answer is in the final one: %q", name, got)
					}
				}
			}
		})
	}
}

// A hint that came with the answer would be of no use.
func TestInterimAnswersAreNotHeldBack(t *testing.T) {
	origin := newOrigin(t)
	base := startEdge(t, origin.URL)
	came := make(chan struct{})
	origin.says("/early", answer{interim: []interim{{status: http.StatusEarlyHints, fields: []string{"Link: </a.css>; rel=preload"}}}, hold: came})
	begun := time.Now()
	s := get(t, client(t), base+"/early", func(int) { close(came) })
	if len(s.interim) != 1 {
		t.Errorf("the interim answers are %v after %v, want one before the final answer exists", s.interim, time.Since(begun))
	}
}

// RFC 9110 §15.2: who speaks HTTP/1.0 knows no interim answers.
func TestInterimAnswersAreNotForHTTP10(t *testing.T) {
	origin := newOrigin(t)
	base := startEdge(t, origin.URL)
	for _, status := range []int{http.StatusProcessing, http.StatusEarlyHints} {
		path := fmt.Sprintf("/old/%d", status)
		origin.says(path, answer{interim: []interim{{status: status}}})
		said := rawGet(t, base, path, "HTTP/1.0")
		line, _, _ := strings.Cut(said, "\r\n")
		if !strings.HasPrefix(line, "HTTP/1.") || !strings.Contains(line, " 200") {
			t.Errorf("%d: the first line is %q, 200 is expected", status, line)
		}
		if strings.Contains(said, fmt.Sprintf(" %d ", status)) {
			t.Errorf("%d is in the answer:\n%s", status, said)
		}
	}
}
