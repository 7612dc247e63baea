package session

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

var base = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// captured is a session that a real player played, with what its media element said of it.
type captured struct {
	player, run string
	requests    []telemetry.Request
	reports     []telemetry.Report
	stalls      []float64 // seconds at which the picture stood still, without start and seeks
	lengths     []float64
	startup     float64
}

// capturedSessions reads the sessions of the corpus. It has no response times: a request is taken
// to be answered after 5 ms, but not before the end of the ten seconds in which the rig held back
// all segments from the seventh; one that the player asked for again in the meantime was given up.
// Shaka stops the element itself when it rebuffers, so that the element says nothing of it; its
// rebuffer is that of its buffer: 5.5 s at 6.71 s, the next segment at 16.06 s.
func capturedSessions(t *testing.T) []*captured {
	t.Helper()
	f, err := os.Open("testdata/captured.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var sessions []*captured
	byRun := map[string]*captured{}
	held, waiting, seeking, played := map[string]float64{}, map[string]float64{}, map[string]bool{}, map[string]bool{}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			Player, Run, Kind, Path, Query, Range, Body, Truth string
			Headers                                            map[string]string
			Status                                             int     `json:"status_returned"`
			MS                                                 float64 `json:"t_ms"`
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		c := byRun[l.Run]
		if c == nil {
			c = &captured{player: l.Player, run: l.Run}
			if l.Player == "shaka 4.16.4" {
				c.stalls, c.lengths = []float64{12.21}, []float64{3.85}
			}
			byRun[l.Run], sessions = c, append(sessions, c)
		}
		at := base.Add(time.Duration(l.MS * float64(time.Millisecond)))
		switch {
		case strings.HasPrefix(l.Truth, "ACT hold"):
			held[l.Run] = l.MS + 10_000
		case strings.HasPrefix(l.Truth, "media seeking"):
			seeking[l.Run] = true
		case strings.HasPrefix(l.Truth, "media waiting"):
			if played[l.Run] && !seeking[l.Run] {
				waiting[l.Run] = l.MS
			}
		case strings.HasPrefix(l.Truth, "media playing"):
			if !played[l.Run] {
				c.startup = l.MS / 1e3
			}
			if from, ok := waiting[l.Run]; ok {
				c.stalls, c.lengths = append(c.stalls, from/1e3), append(c.lengths, (l.MS-from)/1e3)
				delete(waiting, l.Run)
			}
			played[l.Run], seeking[l.Run] = true, false
		case l.Kind == "request":
			h := http.Header{}
			for name, value := range l.Headers {
				h.Set(name, value)
			}
			v, ok := cmcd.FromRequest(l.Query, h)
			r := telemetry.Request{Time: at, Path: l.Path, Range: l.Range, Status: 200, CMCD: v, HasCMCD: ok, Duration: 5 * time.Millisecond}
			number, _ := segmentNumber(&r)
			if until := held[l.Run]; v.Text(cmcd.KeyOT) != "i" && (number >= 7 || l.Range != "") && l.MS < until {
				r.Duration = time.Duration((until - l.MS + 10) * float64(time.Millisecond))
			}
			for i := range c.requests { // asked for again
				b := &c.requests[i]
				n, _ := segmentNumber(b)
				if kind := v.Text(cmcd.KeyOT); kind != "i" && kind != "m" && b.CMCD.Text(cmcd.KeyOT) == kind && n == number && b.Time.Add(b.Duration).After(at) {
					b.Aborted, b.Duration = true, at.Sub(b.Time)
				}
			}
			c.requests = append(c.requests, r)
		case l.Kind == "event":
			for v, err := range cmcd.ParseBody([]byte(l.Body)) {
				if err == nil {
					c.reports = append(c.reports, telemetry.Report{Time: at, Path: "/cmcd", CMCD: v})
				}
			}
		}
	}
	return sessions
}

// Each captured session that played to the end had one real rebuffer and one seek after it. The
// join must find the one and not the other, by whatever the player sends.
func TestRebuffersOfCapturedPlayers(t *testing.T) {
	for _, c := range capturedSessions(t) {
		for _, mode := range []string{"with reports", "requests only"} {
			t.Run(c.run+" "+mode, func(t *testing.T) {
				reports := c.reports
				if mode == "requests only" {
					reports = nil
				}
				s := Join(c.requests, reports, base.Add(time.Hour))
				if s.StartupTime == nil || math.Abs(*s.StartupTime-c.startup) > 0.25 {
					t.Errorf("startup = %v s, want %.2f s", deref(s.StartupTime), c.startup)
				}
				if s.StartupEstimated != (mode == "requests only" || !strings.Contains(c.run, "v2")) {
					t.Errorf("startup estimated = %v", s.StartupEstimated)
				}
				if s.Player != "" && !strings.HasPrefix(strings.ToLower(c.player), strings.ToLower(s.Player)) {
					t.Errorf("player = %q, want %q or none", s.Player, c.player)
				}
				if len(s.Rebuffers) != len(c.stalls) {
					t.Fatalf("found %d rebuffers, want %d", len(s.Rebuffers), len(c.stalls))
				}
				for i, r := range s.Rebuffers {
					at := r.Time.Sub(base).Seconds()
					if math.Abs(at-c.stalls[i]) > 0.5 || math.Abs(r.Duration-c.lengths[i]) > 0.5 {
						t.Errorf("rebuffer at %.2f s of %.2f s by %s, want %.2f s of %.2f s", at, r.Duration, r.Evidence, c.stalls[i], c.lengths[i])
					}
				}
			})
		}
	}
}

func deref(p *float64) any {
	if p == nil {
		return nil
	}
	return *p
}
