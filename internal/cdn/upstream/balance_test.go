package upstream

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn/upstream/loop"
)

// many returns a pool of n origins with weights, which all answer.
func many(t testing.TB, balance Balance, weights ...int) *Pool {
	return newPool(t, func(s *Settings) {
		s.Config.Balance = balance
		for i, w := range weights {
			s.Config.Origins = append(s.Config.Origins, OriginConfig{URL: "http://origin-" + strconv.Itoa(i), Weight: w})
		}
		s.Transport = roundTripper(func(r *http.Request) (*http.Response, error) { return answer(http.StatusOK, r.URL.Host) })
	})
}

// share asks for n objects, one after the other, and returns who was asked how often.
func share(t *testing.T, p *Pool, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for i := range n {
		body, _, err := get(t, p, "/"+strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		got[body]++
	}
	return got
}

func TestQuietOriginsTakeTurnsByWeight(t *testing.T) {
	got := share(t, many(t, LeastRequests, 1, 2, 5), 800)
	for i, want := range []int{100, 200, 500} {
		if n := got[fmt.Sprintf("origin-%d", i)]; math.Abs(float64(n-want)) > 8 {
			t.Errorf("origin-%d was asked %d times, want about %d", i, n, want)
		}
	}
}

func TestFewestRunningRequestsForTheWeight(t *testing.T) {
	p := many(t, LeastRequests, 1, 3)
	for range 400 { // none of them ends
		w, err := p.RoundTrip(request(t, http.MethodGet, "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
	}
	for i, want := range []int64{100, 300} {
		if n := p.State()[i].Running; n < want-1 || n > want+1 {
			t.Errorf("origin-%d has %d running, want %d", i, n, want)
		}
	}
}

func TestRunningRequestsAreBounded(t *testing.T) {
	p := newPool(t, origins("http://a", "http://b"), config(func(c *Config) { c.MaxRequests = 2 }), func(s *Settings) {
		s.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return answer(http.StatusOK, "x") })
	})
	for range 4 {
		w, err := p.RoundTrip(request(t, http.MethodGet, "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
	}
	_, _, err := get(t, p, "/")
	if want := `upstream: /: no origin can be asked: "a" has 2 requests running; "b" has 2 requests running`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestHashKeepsObjectsWhereTheyAre(t *testing.T) {
	const objects = 3000
	p := many(t, Hash, 1, 1, 1, 3)
	where := map[int]string{}
	for round := range 2 {
		for i := range objects {
			body, _, err := get(t, p, "/"+strconv.Itoa(i))
			if err != nil {
				t.Fatal(err)
			}
			if round > 0 && where[i] != body {
				t.Fatalf("object %d is at %s, and was at %s", i, body, where[i])
			}
			where[i] = body
		}
	}
	count := map[string]int{}
	for _, name := range where {
		count[name]++
	}
	for i, want := range []int{500, 500, 500, 1500} {
		if n := count[fmt.Sprintf("origin-%d", i)]; math.Abs(float64(n-want)) > 100 {
			t.Errorf("origin-%d has %d objects, want about %d", i, n, want)
		}
	}
	// One goes: only its objects move.
	now := time.Now()
	gone := p.table.Load().all[1]
	for range 3 {
		gone.Failed(now, &p.table.Load().config.Passive, "test")
	}
	for i := range objects {
		body, _, err := get(t, p, "/"+strconv.Itoa(i))
		if err != nil || where[i] != gone.name && body != where[i] || body == gone.name {
			t.Fatalf("object %d moved from %s to %s although %s has gone (%v)", i, where[i], body, gone.name, err)
		}
	}
}

func TestHashWithBoundedLoad(t *testing.T) {
	p := many(t, Hash, 1, 1, 1, 1)
	for range 400 { // all for one object
		w, err := p.RoundTrip(request(t, http.MethodGet, "/hot", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
	}
	most := int64(0)
	for _, s := range p.State() {
		most = max(most, s.Running)
	}
	if most > 126 || most < 110 {
		t.Errorf("the busiest of four has %d of 400 requests, want a quarter more than its share (125)", most)
	}
}

// edges returns a transport where every host answers with its name, and that says status where it is given.
func edges(status map[string]int) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		s := status[r.URL.Host]
		switch s {
		case 0:
			s = http.StatusOK
		case -1:
			return nil, fmt.Errorf("no answer of %s", r.URL.Host)
		}
		return answer(s, r.URL.Host)
	}
}

func shields(s *Settings) {
	s.Config.Origins = []OriginConfig{{URL: "http://origin"}}
	for i := range 3 {
		name := fmt.Sprintf("shield-%d", i)
		s.Config.Shields = append(s.Config.Shields, OriginConfig{Name: name, URL: "http://" + name})
	}
	s.Config.Retry.PerSecond = 1000
}

func TestShieldsAreAskedFirst(t *testing.T) {
	p := newPool(t, shields, func(s *Settings) { s.Transport = edges(nil) })
	got := share(t, p, 300)
	if got["origin"] != 0 || len(got) != 3 {
		t.Errorf("asked: %v, want the three shields only", got)
	}
	again := share(t, p, 300)
	for name, n := range got {
		if again[name] != n {
			t.Errorf("%s has %d objects, then %d", name, n, again[name])
		}
	}
	_, trace, _ := get(t, p, "/")
	if !trace.Shield {
		t.Errorf("trace %+v, want a shield", trace)
	}
}

func TestTheOriginIsAskedWhenShieldsFail(t *testing.T) {
	for _, status := range []int{-1, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusLoopDetected} {
		all := map[string]int{"shield-0": status, "shield-1": status, "shield-2": status}
		p := newPool(t, shields, func(s *Settings) { s.Transport = edges(all) })
		body, trace, err := get(t, p, "/")
		if err != nil || body != "origin" || trace.Attempts != 3 || trace.Shield {
			t.Errorf("shields with %d: %q, %v, %+v; the origin after two shields is expected", status, body, err, trace)
		}
	}
	// What is not the shield's own trouble is the answer.
	all := map[string]int{"shield-0": 500, "shield-1": 500, "shield-2": 500}
	p := newPool(t, shields, func(s *Settings) { s.Transport = edges(all) })
	if body, trace, err := get(t, p, "/"); err != nil || trace.Attempts != 1 || !trace.Shield {
		t.Errorf("shields with 500: %q, %v, %+v; the shield's answer is expected", body, err, trace)
	}
	// And if there is nobody else, the shield's trouble is the answer.
	all = map[string]int{"shield-0": 503, "shield-1": 503, "shield-2": 503}
	p = newPool(t, shields, func(s *Settings) { s.Transport, s.Config.Retry.Attempts = edges(all), 1 })
	if w, err := p.RoundTrip(request(t, http.MethodGet, "/", nil)); err != nil || w.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%v, %v", w, err)
	}
}

func TestAShieldAmongShields(t *testing.T) {
	p := newPool(t, shields, func(s *Settings) { s.Transport, s.ID = edges(nil), "shield-1" })
	got := share(t, p, 300)
	if got["shield-1"] != 0 || got["origin"] == 0 || got["shield-0"] == 0 || got["shield-2"] == 0 {
		t.Errorf("asked: %v, want the other shields for theirs and the origin for its own", got)
	}
	if states := p.State(); len(states) != 3 {
		t.Errorf("%d states, want those of others only", len(states))
	}
	r := request(t, http.MethodGet, "/", nil)
	r.Header.Set(loop.Field, "edge-7")
	for i := range 50 {
		r.URL.Path = "/" + strconv.Itoa(i)
		if body, _, err := send(t, p, r); err != nil || body != "origin" {
			t.Errorf("%q, %v: for another edge a shield asks the origin", body, err)
		}
	}
}
