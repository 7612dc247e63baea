package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-stream/weir/internal/config"
	"github.com/weir-stream/weir/internal/console/rest"
)

func testNode(t *testing.T) *node {
	t.Helper()
	c := config.Default()
	c.Data = t.TempDir()
	c.Public.Address, c.Private.Address, c.Live.RTMP.Address = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, err := newNode(t.Context(), c, false, &process{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEverythingStartsAndStops(t *testing.T) {
	n := testNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := n.Run(ctx, func() {
		defer cancel()
		resp, err := http.Get("http://" + n.private.Addr().String() + "/readyz")
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		var answer struct {
			Ready bool
			Parts []struct{ Name, State string }
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || !answer.Ready || len(answer.Parts) < 8 {
			t.Errorf("readyz = %+v, %v", answer, err)
		}
		// The store is the first to start and so the last to stop: everything writes to it.
		if answer.Parts[0].Name != "store" || answer.Parts[len(answer.Parts)-1].Name != "rtmp" {
			t.Errorf("parts start as %v", answer.Parts)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// An address in use is said before anything runs, and what was taken until then is given back.
func TestAnAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := config.Default()
	c.Data = t.TempDir()
	c.Public.Address, c.Live.RTMP.Address = "127.0.0.1:0", "127.0.0.1:0"
	c.Private.Address = taken.Addr().String()
	_, err = newNode(t.Context(), c, false, &process{log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "private listener: listen on "+taken.Addr().String()) {
		t.Fatalf("err = %v", err)
	}
	// The store was opened before; it must be closed again, for only one process may have it.
	c.Private.Address = "127.0.0.1:0"
	n, err := newNode(t.Context(), c, false, &process{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("after a failed start: %v", err)
	}
	n.giveBack()
}

// Every metric is called weir_<area>_<noun>_<unit>[_total], but for those of Go and the process. The listeners and
// the shared bus are nobody's area alone.
func TestMetricsAreNamedByTheRule(t *testing.T) {
	n := testNode(t)
	defer n.giveBack()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`^weir_(live|cdn|telemetry|analytics|console|http|bus)_[a-z0-9]+(_[a-z0-9]+)*$`)
	ours := 0
	for _, family := range families {
		name := family.GetName()
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		ours++
		if !rule.MatchString(name) {
			t.Errorf("%s is not named weir_<area>_…", name)
		}
		if counter := family.GetType().String() == "COUNTER"; counter != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, family.GetType())
		}
		if family.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
	if ours < 20 {
		t.Errorf("only %d metrics were looked at", ours)
	}
}

func TestAddresses(t *testing.T) {
	everywhere := addresses{
		public: &net.TCPAddr{IP: net.IPv6zero, Port: 8080}, private: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090},
		rtmp: &net.TCPAddr{IP: net.IPv6zero, Port: 1935},
	}
	want := rest.Addresses{
		Watch: "http://weir.example:8080/watch/{stream}",
		HLS:   "http://weir.example:8080/live/{stream}/index.m3u8",
		DASH:  "http://weir.example:8080/live/{stream}/manifest.mpd",
		RTMP:  "rtmp://weir.example/live/{stream}",
		MCP:   "http://127.0.0.1:8090/mcp",
	}
	if got := everywhere.from("weir.example"); got != want {
		t.Errorf("addresses = %+v\nwant        %+v", got, want)
	}
	if banner := everywhere.banner("test", false); !strings.Contains(banner, "rtmp://localhost/live/test") || !strings.Contains(banner, "Nothing is published yet") {
		t.Errorf("banner = %s", banner)
	}
}

// A node whose host has no name that it could have is called the same after a restart, and not as another.
func TestANodeWithoutANameGetsOne(t *testing.T) {
	data, names := t.TempDir(), make(map[string]bool)
	for range 2 {
		c := config.Default()
		c.Data, c.Node.ID = data, ""
		c.Public.Address, c.Private.Address, c.Live.RTMP.Address = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
		n, err := newNode(t.Context(), c, false, &process{log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		names[n.config.Node.ID] = true
		n.giveBack()
	}
	if len(names) != 1 || names[""] || names["weir"] {
		t.Errorf("it is called %v", names)
	}
}

// A node that has not heard of purges for too long asks the origin, whatever is read from the configuration meanwhile.
func TestAFencedNodeServesNothingFromItsCache(t *testing.T) {
	n := testNode(t)
	defer n.giveBack()
	bypassed := func() (some, all bool) {
		all = true
		for _, rule := range n.edge.rules(n.current.CDN) {
			some, all = some || rule.Bypass, all && rule.Bypass
		}
		return some, all
	}
	if some, _ := bypassed(); some {
		t.Fatal("a rule bypasses the cache to begin with")
	}
	n.fence(true)
	if _, all := bypassed(); !all {
		t.Error("not all rules bypass the cache")
	}
	if err := n.takeOver(n.current); err != nil {
		t.Fatal(err)
	}
	ask := func() string {
		w := httptest.NewRecorder()
		n.edge.edge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/live/nothing/master.m3u8", http.NoBody))
		return w.Header().Get("Cache-Status")
	}
	if got := ask(); !strings.Contains(got, "fwd=bypass") {
		t.Errorf("Cache-Status is %q, want fwd=bypass", got)
	}
	n.fence(false)
	if got := ask(); strings.Contains(got, "fwd=bypass") {
		t.Errorf("Cache-Status is %q after the fence", got)
	}
}
