package edge

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/cmcd/cmsd"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

func telling(c *Config, _ *cache.Config) {
	c.Rules = []Rule{{Path: "/", Forward: ForwardRequest, CMSD: true}, {Path: "/silent/", Forward: ForwardRequest}}
}

// hop returns what an answer's CMSD-Dynamic says; it has one item, as some players expect.
func hop(t testing.TB, h http.Header) cmsd.Hop {
	t.Helper()
	d, err := cmsd.ParseDynamic(h["Cmsd-Dynamic"]...)
	if err != nil || len(d) != 1 {
		t.Fatalf("CMSD-Dynamic is %q: %v", h["Cmsd-Dynamic"], err)
	}
	return d[0]
}

func TestWhatTheEdgeSaysOfItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, func(r *http.Request) (*http.Response, error) {
			time.Sleep(1200 * time.Millisecond)
			fields := []string{"Cache-Control", "max-age=60", "CMSD-Static", `ot=v,br=3200`, "CMSD-Dynamic", `"origin";etp=1`}
			switch r.URL.Path {
			case "/private", "/silent/private":
				fields[1] = "no-store"
			case "/error":
				return reply(500, "x", fields...), nil
			}
			return reply(200, "x", fields...), nil
		}, telling)
		for _, tt := range []struct{ path, dynamic string }{
			{"/a", `"edge-1";rd=1200`},
			{"/a", `"edge-1"`},
			{"/private", `"edge-1";rd=1200`},
			{"/error", `"edge-1";rd=1200`},
			{"/silent/a", `"origin";etp=1`}, // it is of this moment
			{"/silent/a", ""},
			{"/silent/private", `"origin";etp=1`},
		} {
			w := hs.get(tt.path)
			if got := strings.Join(w.Header()["Cmsd-Dynamic"], " | "); got != tt.dynamic {
				t.Errorf("%s: CMSD-Dynamic is %q, want %q", tt.path, got, tt.dynamic)
			}
			if got := strings.Join(w.Header()["Cmsd-Static"], " | "); got != `ot=v,br=3200` {
				t.Errorf("%s: CMSD-Static is %q", tt.path, got)
			}
		}
		if w := hs.get("/a", "If-None-Match", "*"); w.Code != 304 || hop(t, w.Header()).Name != "edge-1" {
			t.Errorf("a 304: %d %v", w.Code, w.Header())
		}
	})
}

// The hop is written as the package for it writes it.
func TestAHopIsWrittenAsCMSD(t *testing.T) {
	hs := newHarness(t, func(*http.Request) (*http.Response, error) { return reply(200, "x"), nil })
	for _, last := range []*h1.TCPInfo{nil, {}, {RTT: 31_600 * time.Microsecond, DeliveryRate: 9, AppLimited: true, Throughput: 2_500_000}, {RTT: time.Microsecond}} {
		for _, delay := range []time.Duration{0, 1499 * time.Microsecond, time.Minute} {
			want := cmsd.Hop{Name: "edge-1"}
			if last != nil && last.RTT > 0 {
				want.RTT = new(last.RTT.Round(time.Millisecond).Milliseconds())
			}
			if last != nil && last.Throughput > 0 {
				want.Throughput = new(int64(20_000)) // kbit/s
			}
			if delay > 0 {
				want.ResponseDelay = new(delay.Round(time.Millisecond).Milliseconds())
			}
			if got := string(hs.appendHop(nil, last, delay)); got != want.String() {
				t.Errorf("%q, want %q", got, &want)
			}
		}
	}
}

func TestDuress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hs := newHarness(t, slowOrigin(nil, "x"), telling, func(c *Config, _ *cache.Config) {
			c.MaxFetches, c.MaxQueue, c.QueueTimeout = 1, 3, time.Minute
		})
		hs.get("/hit")
		var viewers sync.WaitGroup
		for waiting, path := range []string{"/1", "/2", "/3"} {
			viewers.Go(func() { hs.get(path) })
			synctest.Wait()
			if got := hop(t, hs.get("/hit").Header()).Duress; got != (2*waiting > 3) {
				t.Errorf("with %d of 3 waiting: duress is %v", waiting, got)
			}
		}
		viewers.Wait()
		if hop(t, hs.get("/hit").Header()).Duress {
			t.Error("duress when all is over")
		}
	})
}

// The edge's own loop knows the connection: after something large has gone over it, its round trip time is told.
func TestTheLoopTellsOfTheConnection(t *testing.T) {
	hs := newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, strings.Repeat("x", 8<<20), "Cache-Control", "max-age=60"), nil
	}, telling)
	c, err := net.Dial("tcp", serveLoop(t, hs))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reader := bufio.NewReader(c)
	_, header, _ := exchangeRaw(t, c, reader, "GET", "/a") // a miss, through the handler
	if h := hop(t, header); h.RTT != nil || h.ResponseDelay == nil {
		t.Errorf("first: %q", header["Cmsd-Dynamic"])
	}
	for _, want := range []string{"after a miss", "after a hit"} {
		_, header, _ = exchangeRaw(t, c, reader, "GET", "/a")
		if h := hop(t, header); h.RTT == nil || *h.RTT > 1000 || h.ResponseDelay != nil || h.Throughput != nil && *h.Throughput < 1000 {
			t.Errorf("%s: %q", want, header["Cmsd-Dynamic"])
		}
	}
	waitForRows(t, hs, 3)
	if row := hs.row(t, 0); !row.TCP.Known() || row.TCP.Sent < 1<<20 {
		t.Errorf("the row of the miss has %+v", row.TCP)
	}
}
