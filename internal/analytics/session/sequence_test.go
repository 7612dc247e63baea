package session

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// numberedSession writes requests and reports with the numbers given, a second apart; "-" is one that is not here.
func numberedSession(t *testing.T, requests string, targets ...string) *records {
	r := &records{t: t}
	at := 0.0
	for _, n := range strings.Fields(requests) {
		at++
		if n != "-" {
			r.request(at, at+0.1, fmt.Sprintf("v%v.m4s", at), `ot=v,sid="s",sn=`+n+`,v=2`)
		}
	}
	for i, target := range targets {
		at = 0
		for _, n := range strings.Fields(target) {
			at++
			if n != "-" {
				r.report(at, fmt.Sprintf(`e=t,sid="s",sn=%s,ts=%d,v=2`, n, after(at).UnixMilli()))
				r.reports[len(r.reports)-1].Path = fmt.Sprintf("/cmcd/%d", i)
			}
		}
	}
	return r
}

// count is what a session misses; -1 where that cannot be known.
func count(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

func TestGaps(t *testing.T) {
	cases := map[string]struct {
		requests     string
		targets      []string
		lost, unseen int
	}{
		"all here":                            {"0 1 2 3", []string{"0 1 2"}, 0, 0},
		"no numbers":                          {"", nil, -1, -1},
		"only requests are numbered":          {"0 2", nil, -1, 1},
		"only reports are numbered":           {"", []string{"0 2"}, 1, -1},
		"a request another server answered":   {"0 1 - 3", []string{"0 1 2"}, 0, 1},
		"a report that did not arrive":        {"0 1 2", []string{"0 - - 3"}, 2, 0},
		"out of order":                        {"1 0 3 2", []string{"2 0 1"}, 0, 0},
		"an object asked for again":           {"0 1 1 2", []string{"0"}, 0, 0},
		"each target has a count of its own":  {"0", []string{"0 1 2", "0 2"}, 1, 0},
		"from the middle of the session":      {"40 41 43", []string{"70 71"}, 0, 1},
		"the first reports did not arrive":    {"0 1 2", []string{"- - 2 3"}, 2, 0},
		"the first requests went elsewhere":   {"- - - 3 4", []string{"0 1"}, 0, 3},
		"one target was told from the start":  {"9", []string{"0", "5"}, 5, 9},
		"a player that counts from 1":         {"1 2 3", []string{"1 2"}, 0, 0},
		"begun again":                         {"0 1 2 0 1", []string{"0 1 0 1"}, 0, 0},
		"a number that is none of the count":  {"0 1 999999999", []string{"0 1 1795160105422"}, 0, 0},
		"halves and numbers without a number": {"0 1.5 2", []string{"0"}, 0, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := numberedSession(t, c.requests, c.targets...)
			if s := r.join(); count(s.LostReports) != c.lost || count(s.UnseenRequests) != c.unseen {
				t.Errorf("%d reports and %d requests are missing, want %d and %d", count(s.LostReports), count(s.UnseenRequests), c.lost, c.unseen)
			}
		})
	}
}

// What is on its way is not missing: a request has its row when it has been answered.
func TestWhatIsOnItsWayIsNotMissing(t *testing.T) {
	r := numberedSession(t, "0 1 - 3 4", "0 - 2")
	for seconds, want := range map[float64][2]int{10: {0, 0}, 32.9: {0, 0}, 33: {1, 0}, 34: {1, 1}, 60: {1, 1}} {
		s := Join(r.requests, r.reports, after(seconds))
		if count(s.LostReports) != want[0] || count(s.UnseenRequests) != want[1] {
			t.Errorf("after %v s: %d reports and %d requests are missing, want %v", seconds, count(s.LostReports), count(s.UnseenRequests), want)
		}
	}
}

// A record that a player posts without an event is no report of a count.
func TestReportsOfNoEventHaveNoCount(t *testing.T) {
	r := &records{t: t}
	for _, n := range []int{0, 7} {
		r.report(float64(n), fmt.Sprintf(`ot=v,sid="s",sn=%d,v=2`, n))
	}
	if s := r.join(); s.LostReports != nil {
		t.Errorf("%d reports are missing", *s.LostReports)
	}
}

// Where nothing is numbered, it is not known that nothing is missing.
func TestWhatIsNotNumberedIsNotCounted(t *testing.T) {
	r := &records{t: t}
	r.request(0, 0.1, "v1.m4s", `ot=v,sid="s",v=2`)
	r.report(1, fmt.Sprintf(`e=t,sid="s",ts=%d,v=2`, after(1).UnixMilli()))
	text, err := json.Marshal(r.join())
	if err != nil || strings.Contains(string(text), "lost_reports") || strings.Contains(string(text), "unseen_requests") {
		t.Errorf("%s, %v", text, err)
	}
}

// Nothing is missing in the captured sessions, and what is taken away is.
func TestGapsOfCapturedPlayers(t *testing.T) {
	for _, c := range capturedSessions(t) {
		s := Join(c.requests, c.reports, after(3600))
		if count(s.LostReports) > 0 || count(s.UnseenRequests) > 0 {
			t.Errorf("%s: %d reports and %d requests are missing", c.run, count(s.LostReports), count(s.UnseenRequests))
		}
		if !strings.Contains(c.run, "v2") {
			if s.LostReports != nil || s.UnseenRequests != nil {
				t.Errorf("%s: counts what is not numbered", c.run)
			}
			continue
		}
		requests := append(c.requests[:5:5], c.requests[7:]...)
		reports := append(c.reports[:9:9], c.reports[12:]...)
		if s := Join(requests, reports, after(3600)); count(s.LostReports) != 3 || count(s.UnseenRequests) != 2 {
			t.Errorf("%s: %d reports and %d requests are missing, 3 and 2 were taken away", c.run, count(s.LostReports), count(s.UnseenRequests))
		}
		// From the middle the past is not missing.
		if s := Join(c.requests[9:], c.reports[9:], after(3600)); count(s.LostReports) != 0 || count(s.UnseenRequests) != 0 {
			t.Errorf("%s: %d reports and %d requests of the past are missing", c.run, count(s.LostReports), count(s.UnseenRequests))
		}
	}
}
