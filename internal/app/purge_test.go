package app

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/purge"
	"github.com/weir-stream/weir/internal/console/rest"
	"github.com/weir-stream/weir/internal/live"
)

// noted is a cache that notes what it was told to purge.
type noted struct {
	mu     sync.Mutex
	purges []cdn.Purge
}

func (n *noted) Purge(p cdn.Purge) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.purges = append(n.purges, p)
	return nil
}

// purgeAPI serves the API over what purges.
func purgeAPI(t *testing.T, p rest.Purger) (address string) {
	t.Helper()
	h, err := rest.New(rest.Settings{
		Sessions: nobody{}, Querier: nobody{}, Streams: nobody{}, Silencer: nobody{}, Snapshot: nobody{},
		Addresses: func(string) rest.Addresses { return rest.Addresses{} }, Examine: examineCMCD, Purger: p,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// nobody stands for all that the API asks of others.
type nobody struct{}

func (nobody) Sessions(context.Context, analytics.SessionFilter) ([]analytics.Session, error) {
	return nil, nil
}

func (nobody) Session(context.Context, string) (analytics.SessionDetails, error) {
	return analytics.SessionDetails{}, nil
}

func (nobody) Query(context.Context, analytics.Query) (analytics.Result, error) {
	return analytics.Result{}, nil
}
func (nobody) Catalogue() []analytics.Metric                   { return nil }
func (nobody) Dimensions() []string                            { return nil }
func (nobody) Streams() []live.StreamInfo                      { return nil }
func (nobody) Live() analytics.Live                            { return analytics.Live{} }
func (nobody) Silence(string, time.Duration) (until time.Time) { return time.Time{} }
func (nobody) Unsilence(string) bool                           { return false }

func runPurge(t *testing.T, address string, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	line := &commandLine{named: map[string]*string{"private.address": &address}}
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(newPurge(line, &out, &out))
	root.SetArgs(append([]string{"purge"}, args...))
	root.SetOut(&out)
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestPurgeCommand(t *testing.T) {
	cache := &noted{}
	service, err := purge.New(purge.Settings{Config: purge.DefaultConfig(), Node: "edge-1", Apply: cache})
	if err != nil {
		t.Fatal(err)
	}
	address := purgeAPI(t, purger{&fleetRole{purges: service}})
	out, err := runPurge(t, address, "--url", "/a?b=c", "--url", "https://cdn.example:8443/x.png?v=2", "--prefix", "/vod/", "--host", "h", "--tag", "sport", "--soft")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range []string{"✓ url h/a?b=c (soft): purge ", "✓ url cdn.example/x.png?v=2 (soft)", "✓ tag sport (soft)", "by edge-1\n"} {
		if !strings.Contains(out, line) {
			t.Errorf("output\n%swithout %q", out, line)
		}
	}
	got := make(map[string]string)
	for _, p := range cache.purges {
		got[string(p.Scope)+" "+p.Target] = p.Host
		if !p.Soft {
			t.Errorf("%v is hard", p)
		}
	}
	for target, host := range map[string]string{"url /a?b=c": "h", "url /x.png?v=2": "cdn.example", "prefix /vod/": "h", "tag sport": ""} {
		if h, ok := got[target]; !ok || h != host {
			t.Errorf("%s: purged %v with host %q, want %q", target, ok, h, host)
		}
	}
	out, err = runPurge(t, address, "--all", "-o", "json")
	if err != nil || !strings.Contains(out, `"confirmed":["edge-1"]`) {
		t.Errorf("output %q, %v", out, err)
	}
}

// An edge that has not confirmed is a failure of the command, and is named.
func TestPurgeCommandNamesWhoIsMissing(t *testing.T) {
	answer := `{"title":"Gateway Timeout","status":504,"detail":"1 of 2 nodes have not confirmed within 5s",
		"purges":[{"id":"x","sequence":7,"missing":["edge-2"]}],"confirmed":["edge-1"],"missing":["edge-2"],"duration":5}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusGatewayTimeout)
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	out, err := runPurge(t, strings.TrimPrefix(server.URL, "http://"), "--tag", "sport")
	if err == nil || errors.As(err, new(usageError)) || !strings.Contains(err.Error(), "1 of 2 nodes") {
		t.Errorf("error = %v, want one that says how many", err)
	}
	if !strings.Contains(out, "! tag sport (hard): purge 7 is not confirmed by edge-2") || !strings.Contains(out, "missing: edge-2") {
		t.Errorf("output\n%s", out)
	}
}

func TestPurgeCommandTellsTheProgramsWords(t *testing.T) {
	address := purgeAPI(t, nil)
	if _, err := runPurge(t, address, "--all"); err == nil || !strings.Contains(err.Error(), "no cache") {
		t.Errorf("error = %v", err)
	}
}
