package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rows are the requests of a session, as the API tells them.
type rows struct {
	Exchanges []row `json:"exchanges"`
}

type row struct {
	Path        string  `json:"path"`
	Status      int     `json:"status"`
	Bytes       int64   `json:"bytes"`
	CacheStatus string  `json:"cache_status"`
	MissReason  string  `json:"miss_reason"`
	Refusal     string  `json:"refusal"`
	Duration    float64 `json:"duration_seconds"`
	TCP         *struct {
		RTT           float64 `json:"rtt_seconds"`
		Sent          int64   `json:"sent_bytes"`
		Retransmitted int64   `json:"retransmitted_bytes"`
		Unsent        int64   `json:"unsent_bytes"`
		Busy          float64 `json:"busy_seconds"`
	} `json:"tcp"`
}

// rows waits until the session has n requests in the store, and returns them in the order of time.
func (p *program) rows(t *testing.T, sid string, n int) []row {
	t.Helper()
	var r rows
	waitFor(t, 10*time.Second, "the requests are stored", func() error {
		if err := p.get("/api/v1/sessions/"+sid, &r); err != nil {
			return err
		}
		if len(r.Exchanges) != n {
			return fmt.Errorf("%d of %d requests", len(r.Exchanges), n)
		}
		return nil
	})
	return r.Exchanges
}

// line is one connection of a viewer, who asks for one object after the other.
type line struct {
	conn   net.Conn
	reader *bufio.Reader
}

func (p *program) dial(t *testing.T) *line {
	t.Helper()
	conn, err := net.Dial("tcp", p.public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &line{conn: conn, reader: bufio.NewReader(conn)}
}

// get reads a whole answer, and returns its status and body.
func (l *line) get(t *testing.T, target string) (int, []byte) {
	t.Helper()
	if _, err := fmt.Fprintf(l.conn, "GET %s HTTP/1.1\r\nHost: weir.example\r\n\r\n", target); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		t.Fatalf("GET %s: %v", target, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: %v", target, err)
	}
	return resp.StatusCode, body
}

func inSession(target, sid string) string {
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	return target + separator + "CMCD=" + url.QueryEscape(fmt.Sprintf("sid=%q", sid))
}

// largeSegment waits for a segment of the stream that has more than n bytes, and returns its path. It is in the cache then.
func (p *program) largeSegment(t *testing.T, stream string, n int) (found string) {
	t.Helper()
	p.playable(t, stream, "video.m3u8")
	viewer := p.dial(t)
	waitFor(t, 20*time.Second, fmt.Sprintf("a segment of more than %d bytes", n), func() error {
		folder := "/live/" + stream
		status, playlist := viewer.get(t, folder+"/video.m3u8")
		if status != http.StatusOK {
			return fmt.Errorf("the playlist is answered %d", status)
		}
		for text := range strings.Lines(string(playlist)) {
			name := strings.TrimSpace(text)
			if name == "" || strings.HasPrefix(name, "#") {
				continue
			}
			if _, body := viewer.get(t, path.Join(folder, name)); len(body) > n {
				found = path.Join(folder, name)
				return nil
			}
		}
		return errors.New("there is none yet")
	})
	return found
}

// The row of a segment that went over a real connection tells what the kernel saw of it.
func TestRowsTellOfTheConnection(t *testing.T) {
	const asked, large = 4, 64 << 10
	p := serve(t, "--test-channel")
	segment := p.largeSegment(t, "test", large)
	viewer := p.dial(t)
	var size int64
	for range asked {
		status, body := viewer.get(t, inSession(segment, "connection"))
		if size = int64(len(body)); status != http.StatusOK || size <= large {
			t.Fatalf("GET %s: %d with %d bytes, want 200 with more than %d", segment, status, size, large)
		}
	}
	var bytes, sent, unsent int64
	for i, r := range p.rows(t, "connection", asked) {
		if r.Path != segment || r.CacheStatus != "hit" || r.Bytes != size || r.Refusal != "" {
			t.Errorf("row %d: %+v, want a hit of %s with %d bytes", i, r, segment, size)
		}
		if r.TCP == nil {
			t.Fatalf("row %d says nothing of the connection", i)
		}
		if r.TCP.RTT <= 0 || r.TCP.RTT > 1 {
			t.Errorf("row %d: the round trip took %v s, want more than nothing and less than a second", i, r.TCP.RTT)
		}
		if busy := r.TCP.Busy; busy < 0 || busy > 30 {
			t.Errorf("row %d: the connection was busy for %v s", i, busy)
		}
		// What was not on its way yet when one answer had been handed over, is sent in the time of the next.
		bytes, sent, unsent = bytes+r.Bytes, sent+r.TCP.Sent-r.TCP.Retransmitted, r.TCP.Unsent
		if sent+unsent < bytes {
			t.Errorf("row %d: %d bytes were sent so far and %d are to be; %d had been handed to the connection", i, sent, unsent, bytes)
		}
		if i > 0 && r.TCP.Sent > 2*(size+large) {
			t.Errorf("row %d: %d bytes were sent for an answer of %d", i, r.TCP.Sent, size)
		}
	}
}

// A request that an access rule refuses has a row that says why, which the viewer is not told.
func TestRowsTellWhyARequestWasRefused(t *testing.T) {
	folder := t.TempDir()
	key := filepath.Join(folder, "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(folder, "weir.yaml")
	if err := os.WriteFile(config, []byte(`
cdn:
  access:
    rules:
    - path: /live/closed/
      tenant: acme
      token:
        keys:
        - {id: k1, secret: {file: `+key+`}}
    - path: /live/elsewhere/
      referrer:
        hosts: [example.com]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, "--config", config)
	refused := []struct{ target, reason string }{
		{"/live/closed/index.m3u8", "token-missing"},
		{"/live/closed/index.m3u8?token=rubbish", "token-malformed"},
		{"/live/elsewhere/index.m3u8", "referrer"},
	}
	viewer := p.dial(t)
	for _, r := range refused {
		status, body := viewer.get(t, inSession(r.target, "refused"))
		if status != http.StatusForbidden {
			t.Errorf("GET %s: %d %s, want 403", r.target, status, body)
		}
		if strings.Contains(string(body), r.reason) {
			t.Errorf("GET %s: the viewer is told the reason: %s", r.target, body)
		}
	}
	// Nobody publishes here: the edge asks the origin, and refuses nothing.
	if status, _ := viewer.get(t, inSession("/live/open/index.m3u8", "refused")); status != http.StatusNotFound {
		t.Errorf("the stream that nobody publishes is answered %d, want 404", status)
	}
	got := p.rows(t, "refused", len(refused)+1)
	for i, want := range refused {
		if r := got[i]; r.Status != http.StatusForbidden || r.Refusal != want.reason || r.CacheStatus != "bypass" || r.MissReason != "" {
			t.Errorf("row of %s: %+v, want 403, bypass, and the reason %s", want.target, r, want.reason)
		}
	}
	if r := got[len(refused)]; r.Refusal != "" || r.Status != http.StatusNotFound {
		t.Errorf("row of the open stream: %+v, want 404 and no reason", r)
	}
	var found struct {
		Rows []struct {
			Dimensions map[string]string  `json:"dimensions"`
			Metrics    map[string]float64 `json:"metrics"`
		} `json:"rows"`
	}
	if err := p.get("/api/v1/metrics/requests?group_by=refusal", &found); err != nil {
		t.Fatal(err)
	}
	counted := make(map[string]float64)
	for _, r := range found.Rows {
		counted[r.Dimensions["refusal"]] = r.Metrics["requests"]
	}
	for _, r := range refused {
		if counted[r.reason] != 1 {
			t.Errorf("%v requests were refused for %s, want 1; all: %v", counted[r.reason], r.reason, counted)
		}
	}
}
