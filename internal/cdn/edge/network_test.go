package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
)

// newNetworkEdge puts a real edge before a real origin, over real connections.
func newNetworkEdge(t *testing.T, origin http.HandlerFunc, change ...func(*Config, *cache.Config)) (*harness, *httptest.Server) {
	server := httptest.NewServer(origin)
	transport := &http.Transport{}
	base, err := url.Parse(server.URL + "/base")
	if err != nil {
		t.Fatal(err)
	}
	// Cleanups run from the last: the edge ends before its origin.
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	hs := newHarness(t, transport.RoundTrip, change...)
	hs.originURL = base
	return hs, serve(t, hs)
}

func TestEdgeBeforeAnOriginOverTheNetwork(t *testing.T) {
	body := strings.Repeat("0123456789", 100_000)
	var statuses []string
	hs, server := newNetworkEdge(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/base/live/a b/1.m4s" || r.URL.RawQuery != "v=1" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=0, must-revalidate")
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Content-Type", "video/mp4")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	})
	for range 3 {
		response, err := server.Client().Get(server.URL + "/live/a%20b/1.m4s?v=1&CMCD=br%3D1")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != 200 || string(got) != body {
			t.Fatalf("%d, %d bytes, %v", response.StatusCode, len(got), err)
		}
		statuses = append(statuses, response.Header.Get("Cache-Status"))
	}
	for i, want := range []string{
		"edge-1; fwd=uri-miss; fwd-status=200; stored; ttl=", "edge-1; fwd=stale; fwd-status=304; ttl=", "edge-1; fwd=stale; fwd-status=304; ttl=",
	} {
		if !strings.HasPrefix(statuses[i], want) {
			t.Errorf("Cache-Status %d = %q, want %q…", i, statuses[i], want)
		}
	}
	eventually(t, "three rows", func() bool { return hs.rowCount() == 3 })
	if row := hs.row(t, 0); row.OriginStatus != 200 || row.OriginTTFB <= 0 || row.OriginTTFB > row.TTFB {
		t.Errorf("row = %+v", row)
	}
	if row := hs.row(t, 2); row.OriginStatus != 304 || row.Bytes != int64(len(body)) || row.MissReason != "expired" {
		t.Errorf("row = %+v", row)
	}
}

func TestOriginThatClosesTheConnection(t *testing.T) {
	hs, server := newNetworkEdge(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "the beginning")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	response, err := server.Client().Get(server.URL + "/a.m4s")
	if err == nil {
		// Whether the head was on its way already or not: it is no whole object.
		var got []byte
		got, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err == nil && response.StatusCode == 200 {
			t.Errorf("the viewer takes %q for the whole", got)
		}
	}
	eventually(t, "a row", func() bool { return hs.rowCount() == 1 })
	if row := hs.row(t, 0); row.Aborted || row.OriginDuration != 0 || hs.cache.Len() != 0 {
		t.Errorf("row = %+v; %d objects are kept", row, hs.cache.Len())
	}
}

func TestBusyEdgeServesWhatIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			if first {
				first = false
				return reply(200, "old", "Cache-Control", "max-age=1"), nil
			}
			return slowOrigin(nil, "x", "y")(r)
		}, func(c *Config, _ *cache.Config) { c.MaxFetches, c.MaxQueue = 1, 0 })
		hs.get("/a.m3u8")
		time.Sleep(2 * time.Second)
		done := make(chan struct{})
		go func() {
			defer close(done)
			hs.get("/slow.m4s")
		}()
		synctest.Wait()
		w := hs.get("/a.m3u8")
		if w.Code != 200 || w.Body.String() != "old" || hs.row(t, -1).CacheStatus != "stale" {
			t.Errorf("%d %q, %q", w.Code, w.Body, w.Header().Get("Cache-Status"))
		}
		<-done
	})
}
