package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const playTime = 20 * time.Second

// The issue of it all: three players play in a real browser, and what is then said of each session
// is what the browser did.
func TestPlayersPlayAndAreMeasured(t *testing.T) {
	p := serve(t, "--test-channel")
	p.playable(t, "test", "index.m3u8")
	chromium := browser(t)
	for _, test := range []struct{ player, version string }{
		{"hls", "1"},
		{"dash", "1"},
		{"shaka", "1"},
		{"hls", "2"},
		{"dash", "2"},
		{"shaka", "2"},
	} {
		t.Run(test.player+" with CMCD "+test.version, func(t *testing.T) {
			ctx, errs, wire := tappedTab(t, chromium, fmt.Sprintf("http://%s/watch/test?player=%s&cmcd=%s&events=1", p.public, test.player, test.version), true)
			begun := playing(t, ctx, 15*time.Second)
			start := time.Now()
			waitFor(t, playTime+10*time.Second, "twenty seconds of play", func() error {
				w, err := watch(ctx)
				if err != nil {
					return err
				}
				if played, wall := w.CurrentTime-begun.CurrentTime, time.Since(start); wall < playTime || played < 0.8*playTime.Seconds() {
					return fmt.Errorf("%.1f s played in %v, state %s, errors %v", played, wall, w.State, w.Errors)
				}
				return nil
			})
			screenshot(t, ctx, "watch-"+test.player+"-"+test.version)
			// The player is ended before it is counted, so that both sides speak of the same requests.
			if _, err := evaluate[bool](ctx, `(window.weirWatch.stop(), true)`); err != nil {
				t.Fatal(err)
			}
			var w watching
			waitFor(t, 10*time.Second, "the last request ends", func() (err error) {
				if w, err = watch(ctx); err != nil {
					return err
				}
				for _, r := range w.Requests {
					if r.Status == 0 {
						return fmt.Errorf("%s is under way", r.URL)
					}
				}
				return nil
			})
			if len(w.Errors) > 0 || w.Restarts > 0 {
				t.Errorf("the player had errors %v and was started again %d times", w.Errors, w.Restarts)
			}
			if thrown := errs.all(); len(thrown) > 0 {
				t.Errorf("the page threw %q", thrown)
			}
			truth := tally(t, w)
			compareWithAPI(t, p, w.SID, truth)
			if test.version == "2" {
				waitFor(t, 10*time.Second, "the player's reports are stored", func() error {
					var d sessionDetails
					if err := p.get("/api/v1/sessions/"+w.SID, &d); err != nil {
						return err
					}
					if d.Session.Reports == 0 {
						return errors.New("there is none")
					}
					return nil
				})
			}
			compareWithMCP(t, p, w.SID, truth)
			said := compareKeyByKey(t, p, w.SID, wire)
			if n := said.count(); n != truth.requests {
				t.Errorf("the page's log has %d requests, the browser sent %d", truth.requests, n)
			}
			if test.version == "2" {
				compareResponses(t, p, w.SID, said)
			}
		})
	}
}

// played is what the browser did, counted from the page's own log.
type played struct {
	requests int
	errors   int
	stalls   int     // times at which the picture stood still after it had played
	bitrate  float64 // bit/s, weighted by duration, video only
	paths    map[string]int
	bytes    map[string]int64 // by path; only those whose requests all came to their end
}

// tally counts what the browser did. It shares no code with the program: a video object counts
// once, with the bitrate and duration that the player put into the request's CMCD.
func tally(t *testing.T, w watching) played {
	t.Helper()
	got := played{stalls: len(w.Stalls), paths: make(map[string]int), bytes: make(map[string]int64)}
	for _, stall := range w.Stalls {
		t.Logf("the picture stood still for %.2f s", stall.Duration)
	}
	cancelled := make(map[string]bool)
	defer func() { maps.DeleteFunc(got.bytes, func(path string, _ int64) bool { return cancelled[path] }) }()
	seen := make(map[string]bool)
	var weighted, duration float64
	for _, r := range w.Requests {
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(u.Path, "/live/") || r.Keys["sid"] == "" {
			continue
		}
		got.requests++
		got.bytes[u.Path] += r.Bytes
		got.paths[u.Path]++
		if r.Status >= 400 {
			got.errors++
			continue
		}
		if r.Status < 0 { // by the player; what had come until then, neither side can tell exactly
			cancelled[u.Path] = true
			continue
		}
		if kind := r.Keys["ot"]; (kind != "v" && kind != "av") || seen[u.Path] {
			continue
		}
		br, okBitrate := number(r.Keys["br"])
		d, okDuration := number(r.Keys["d"])
		if okBitrate && okDuration && d > 0 {
			seen[u.Path] = true
			weighted += br * 1000 * d
			duration += d
		}
	}
	if got.requests < 10 {
		t.Errorf("the page logged only %d requests", got.requests)
	}
	if duration > 0 {
		got.bitrate = weighted / duration
	} else {
		t.Error("no request for video carried br and d")
	}
	return got
}

// number reads 3000, (3000) and (3000;v 128;a): of a list the item for video, else the first.
func number(text string) (float64, bool) {
	items := strings.Fields(strings.Trim(text, "()"))
	if len(items) == 0 {
		return 0, false
	}
	chosen := items[0]
	for _, item := range items {
		if strings.HasSuffix(item, ";v") {
			chosen = item
		}
	}
	value, _, _ := strings.Cut(chosen, ";")
	n, err := strconv.ParseFloat(value, 64)
	return n, err == nil
}

type sessionDetails struct {
	Session struct {
		ID             string  `json:"id"`
		Stream         string  `json:"stream"`
		Requests       int     `json:"requests"`
		Reports        int     `json:"reports"`
		Bytes          int64   `json:"bytes"`
		Errors         int     `json:"errors"`
		AverageBitrate float64 `json:"average_bitrate"`
		PlayedTime     float64 `json:"played_time_seconds"`
		Rebuffers      []any   `json:"rebuffers"`
	} `json:"session"`
	Exchanges []struct {
		ID       string            `json:"id"`
		Path     string            `json:"path"`
		Status   int               `json:"status"`
		Bytes    int64             `json:"bytes"`
		CMCD     map[string]string `json:"cmcd"`
		Response *struct {
			Status *int     `json:"status"`
			TTLB   *float64 `json:"ttlb_seconds"`
		} `json:"response"`
	} `json:"exchanges"`
	Reports []struct {
		Event     string            `json:"event"`
		CMCD      map[string]string `json:"cmcd"`
		RequestID string            `json:"request_id"`
	} `json:"reports"`
	Truncated bool `json:"truncated"`
}

func compareWithAPI(t *testing.T, p *program, sid string, truth played) {
	t.Helper()
	var d sessionDetails
	waitFor(t, 10*time.Second, "the session is stored", func() error {
		if err := p.get("/api/v1/sessions/"+sid, &d); err != nil {
			return err
		}
		if d.Session.Requests < truth.requests {
			return fmt.Errorf("%d of %d requests", d.Session.Requests, truth.requests)
		}
		return nil
	})
	s := d.Session
	if s.ID != sid || s.Stream != "test" || s.Requests != truth.requests || s.Errors != truth.errors {
		t.Errorf("session = %+v\nthe browser made %d requests, of which %d failed", s, truth.requests, truth.errors)
	}
	if math.Abs(s.AverageBitrate-truth.bitrate) > 1 {
		t.Errorf("average bitrate is %.0f bit/s, the browser's requests make %.0f", s.AverageBitrate, truth.bitrate)
	}
	if s.PlayedTime < 0.7*playTime.Seconds() || s.PlayedTime > 2.5*playTime.Seconds() {
		t.Errorf("played time is %.1f s after %v of play", s.PlayedTime, playTime)
	}
	if len(s.Rebuffers) > truth.stalls {
		t.Errorf("rebuffers = %v, the picture stood still %d times", s.Rebuffers, truth.stalls)
	}
	stored, bytes := make(map[string]int), make(map[string]int64)
	for _, e := range d.Exchanges {
		stored[e.Path]++
		bytes[e.Path] += e.Bytes
		if e.Status == http.StatusNotModified { // the browser gives the page what it had
			delete(truth.bytes, e.Path)
		}
	}
	if len(truth.bytes) < len(truth.paths)-4 {
		t.Errorf("the player cancelled requests for %d of %d objects", len(truth.paths)-len(truth.bytes), len(truth.paths))
	}
	for path, n := range truth.bytes {
		if bytes[path] != n {
			t.Errorf("%s: %d bytes are stored, the browser received %d", path, bytes[path], n)
		}
	}
	for path, n := range truth.paths {
		if stored[path] != n {
			t.Errorf("%s: %d requests stored, the browser made %d", path, stored[path], n)
		}
	}
}

func compareWithMCP(t *testing.T, p *program, sid string, truth played) {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: "http://" + p.private + "/mcp"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	askMCP(t, session, sid, truth)
}

// askMCP asks the four tools about exactly one session.
func askMCP(t *testing.T, session *mcp.ClientSession, sid string, truth played) {
	t.Helper()
	call := func(tool string, out any) {
		t.Helper()
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"session": sid}})
		if err != nil {
			t.Fatalf("%s: %v", tool, err)
		}
		structured, err := json.Marshal(result.StructuredContent)
		if err != nil {
			t.Fatal(err)
		}
		if result.IsError {
			t.Fatalf("%s: %s", tool, text(result))
		}
		if err := json.Unmarshal(structured, out); err != nil {
			t.Fatalf("%s: %v in %s", tool, err, structured)
		}
	}
	var average struct {
		Rows []struct {
			Dimensions map[string]string  `json:"dimensions"`
			Metrics    map[string]float64 `json:"metrics"`
		} `json:"rows"`
	}
	call("get_average_bitrate", &average)
	if len(average.Rows) != 1 || average.Rows[0].Dimensions["session"] != sid || math.Abs(average.Rows[0].Metrics["average_bitrate"]-truth.bitrate) > 1 {
		t.Errorf("get_average_bitrate = %+v, want one row of one session with %.0f bit/s", average.Rows, truth.bitrate)
	}
	var details sessionDetails
	call("get_session_details", &details)
	if details.Session.ID != sid || details.Session.Requests != truth.requests {
		t.Errorf("get_session_details = %+v, want %d requests", details.Session, truth.requests)
	}
	var buffer struct {
		Session   string `json:"session_id"`
		Rebuffers []any  `json:"rebuffers"`
	}
	call("analyze_buffer_events", &buffer)
	if buffer.Session != sid || len(buffer.Rebuffers) > truth.stalls {
		t.Errorf("analyze_buffer_events found %v in session %s, the picture stood still %d times", buffer.Rebuffers, buffer.Session, truth.stalls)
	}
	var errs struct {
		Session string         `json:"session_id"`
		Counts  map[string]int `json:"counts"`
	}
	call("identify_playback_errors", &errs)
	if found := errs.Counts["http_error"] + errs.Counts["manifest_error"]; errs.Session != sid || found != truth.errors {
		t.Errorf("identify_playback_errors found %v in session %s, the browser saw %d HTTP errors", errs.Counts, errs.Session, truth.errors)
	}
}

func text(result *mcp.CallToolResult) string {
	var b strings.Builder
	for _, c := range result.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			b.WriteString(t.Text)
		}
	}
	return b.String()
}
