package session

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/analytics/session/answer"
	"github.com/weir-stream/weir/internal/telemetry"
)

// response adds a report of an answer, received at the time, to a request begun at start by the player's
// clock, which is an hour ahead.
func (r *records) response(at, start float64, url, rest string) {
	r.t.Helper()
	if rest != "" {
		rest += ","
	}
	r.report(at, fmt.Sprintf(`%se=rr,sid="s",sn=%d,ts=%d,url="%s",v=2`, rest, len(r.reports), after(start+3600).UnixMilli(), url))
}

// clock adds the report that tells the offset: it takes 10 ms.
func (r *records) clock() {
	r.t.Helper()
	r.report(0.01, fmt.Sprintf(`e=t,sid="s",sn=%d,ts=%d,v=2`, len(r.reports), after(3600).UnixMilli()))
}

// joined says for each request which of the answers it was joined with: the number of the report.
func (r *records) joined() string {
	exchanges, events := newJoin(r.requests, r.reports).details()
	numbers := map[string]int64{}
	for _, e := range events {
		if e.RequestID != "" {
			numbers[e.RequestID] = *e.SequenceNumber
		}
	}
	var out []string
	for _, e := range exchanges {
		n, ok := numbers[e.ID]
		switch {
		case ok != (e.Response != nil):
			r.t.Errorf("%s: the event says %v, the request %v", e.Path, ok, e.Response)
		case ok:
			out = append(out, fmt.Sprint(n))
		default:
			out = append(out, "-")
		}
	}
	return strings.Join(out, " ")
}

func TestResponsesAreJoinedWithRequests(t *testing.T) {
	const host = "https://cdn.example"
	cases := map[string]struct {
		write func(*records)
		want  string
	}{
		"by path and time": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
			r.request(2.1, 2.2, "v2.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, host+"/live/test/v1.m4s", "ttlb=300")
			r.response(2.4, 2, host+"/live/test/v2.m4s", "ttlb=300")
		}, "1 2"},
		"a relative URL": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
			r.request(1.1, 1.2, "other/v1.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, "test/v1.m4s", "")
		}, "1 -"},
		"relative to the folder above": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, "../test/./v1.m4s", "")
		}, "1"},
		"an absolute path": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, "/live/test/v1.m4s", "")
		}, "1"},
		"no part of a name": {func(r *records) {
			r.request(1.1, 1.2, "xv1.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, "v1.m4s", "")
		}, "-"},
		"another path": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, host+"/vod/test/v1.m4s", "")
		}, "-"},
		"escapes": {func(r *records) {
			r.request(1.1, 1.2, "ä b.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, host+"/live//test/%C3%A4%20b.m4s", "")
		}, "1"},
		"the CMCD argument is left in": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`).Query = "t=1"
			r.response(1.4, 1, host+"/live/test/v1.m4s?t=1&CMCD=ot%3Dv", "")
		}, "1"},
		"the query is left out": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`).Query = "token=x"
			r.response(1.4, 1, host+"/live/test/v1.m4s", "")
		}, "1"},
		"arguments in another order": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`).Query = "b=2&a=%31"
			r.response(1.4, 1, host+"/live/test/v1.m4s?a=1&b=2", "")
		}, "1"},
		"the query names the object": {func(r *records) {
			r.request(1.1, 1.2, "v", `ot=v,sid="s"`).Query = "n=1"
			r.request(1.1, 1.2, "v", `ot=v,sid="s"`).Query = "n=2"
			r.response(1.4, 1, host+"/live/test/v?n=2", "")
		}, "- 1"},
		"another object by its query": {func(r *records) {
			r.request(1.1, 1.2, "v", `ot=v,sid="s"`).Query = "n=1"
			r.response(1.4, 1, host+"/live/test/v?n=2", "")
		}, "-"},
		"a redirect to this edge": {func(r *records) {
			r.request(1.3, 1.4, "v1.m4s", `ot=v,sid="s"`).Host = "edge7.example"
			r.response(1.5, 1, host+"/live/test/v1.m4s", "")
		}, "1"},
		"a redirect from this edge to itself": {func(r *records) {
			r.request(1.1, 1.1, "v1.m4s", `ot=v,sid="s"`).Status = 302
			r.request(1.3, 1.4, "v1.m4s", `ot=v,sid="s"`)
			r.response(1.5, 1, host+"/live/test/v1.m4s", "")
		}, "- 1"},
		"a redirect from this edge to another": {func(r *records) {
			r.request(1.1, 1.1, "v1.m4s", `ot=v,sid="s"`).Status = 302
			r.response(1.5, 1, host+"/live/test/v1.m4s", "")
		}, "1"},
		"another server first, this edge then": {func(r *records) {
			r.request(2.1, 2.2, "v1.m4s", `ot=v,sid="s"`).Host = "cdn.example"
			r.response(1.4, 1, "https://other.example/live/test/v1.m4s", "rc=500,ttlb=300")
			r.response(2.4, 2, host+"/live/test/v1.m4s", "rc=200,ttlb=300")
		}, "2"},
		"another server only": {func(r *records) {
			r.request(2.1, 2.2, "v1.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, "https://other.example/live/test/v1.m4s", "rc=500,ttlb=300")
		}, "-"},
		"a live playlist, again and again": {func(r *records) {
			for i := range 5 {
				at := 1 + float64(i)*2
				r.request(at+0.08, at+0.09, "video.m3u8", `ot=m,sid="s"`)
				if i != 2 {
					r.response(at+0.2, at, host+"/live/test/video.m3u8", "ttlb=150")
				}
			}
		}, "1 2 - 3 4"},
		"a playlist that waits for its part": {func(r *records) {
			// Asked for again as soon as it is there: the answer's time is nearer to the next request.
			for i := range 3 {
				at := 1 + float64(i)
				r.request(at+0.4, at+0.95, "video.m3u8", `ot=m,sid="s"`)
				r.response(at+1, at, host+"/live/test/video.m3u8", "ttlb=990")
			}
		}, "1 2 3"},
		"tried again at once": {func(r *records) {
			r.request(1.10, 1.11, "v1.m4s", `ot=v,sid="s"`).Status = 404
			r.request(1.15, 1.16, "v1.m4s", `ot=v,sid="s"`).Status = 404
			r.response(1.5, 1.09, host+"/live/test/v1.m4s", "rc=404,ttlb=30")
			r.response(1.5, 1.14, host+"/live/test/v1.m4s", "rc=404,ttlb=30")
		}, "1 2"},
		"ranges of one file": {func(r *records) {
			for i := range 3 {
				r.request(1+float64(i)+0.1, 1+float64(i)+0.2, "v.mp4", `ot=v,sid="s"`).Range = fmt.Sprintf("bytes=%d-", i)
				r.response(1+float64(i)+0.3, 1+float64(i), host+"/live/test/v.mp4", "rc=206,ttlb=250")
			}
		}, "1 2 3"},
		"told to two targets": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
			r.request(1.3, 1.4, "v1.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, host+"/live/test/v1.m4s", "ttlb=380")
			r.response(1.4, 1, host+"/live/test/v1.m4s", "ttlb=380")
			r.reports[2].Path = "/cmcd/other"
		}, "1 -"},
		"each target was told of another": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
			r.request(2.1, 2.2, "v2.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, host+"/live/test/v1.m4s", "")
			r.response(2.4, 2, host+"/live/test/v2.m4s", "")
			r.reports[2].Path = "/cmcd/other"
		}, "1 2"},
		"sent again": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
			r.response(1.4, 1, host+"/live/test/v1.m4s", "")
			again := r.reports[1]
			again.ID, again.Time = uuid.Must(uuid.NewV7()), after(9)
			r.reports = append(r.reports, again)
		}, "1"},
		"answered before the edge was asked": {func(r *records) {
			r.request(1.5, 1.6, "v1.m4s", `ot=v,sid="s"`)
			r.response(9, 1, host+"/live/test/v1.m4s", "ttlb=300") // from the player's own cache
		}, "-"},
		"asked before the player did": {func(r *records) {
			r.request(1, 1.6, "v1.m4s", `ot=v,sid="s"`)
			r.response(9, 1.6, host+"/live/test/v1.m4s", "ttlb=300")
		}, "-"},
		"no answer came": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`).Aborted = true
			r.response(9, 1, host+"/live/test/v1.m4s", "rc=0")
		}, "1"},
		"no URL, no time, no use": {func(r *records) {
			r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
			r.report(1.4, `e=rr,sid="s",sn=1,ts=1,v=2`)
			r.report(1.4, `e=rr,sid="s",sn=2,url="/live/test/v1.m4s",v=2`)
			r.response(1.4, 1, "data:,x", "")
			r.response(1.4, 1, "https://cdn.example", "")
			r.response(1.4, 1, "http://[", "")
		}, "-"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &records{t: t}
			r.clock()
			c.write(r)
			if got := r.joined(); got != c.want {
				t.Errorf("joined %q, want %q", got, c.want)
			}
		})
	}
}

// Without another report the fastest answer tells how far the player's clock is off.
func TestResponsesAloneTellTheClock(t *testing.T) {
	r := &records{t: t}
	r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
	r.request(2.1, 2.2, "v1.m4s", `ot=v,sid="s"`)
	r.response(1.31, 1, "/live/test/v1.m4s", "ttlb=300")
	r.response(2.9, 2, "/live/test/v1.m4s", "ttlb=300")
	if got := r.joined(); got != "0 1" {
		t.Errorf("joined %q", got)
	}
	if s := r.join(); s.ClockOffset != nil {
		t.Errorf("clock offset = %v, want none: no report tells when it was sent", *s.ClockOffset)
	}
}

func TestWhatThePlayerSawOfAnAnswer(t *testing.T) {
	r := &records{t: t}
	r.clock()
	r.request(1.1, 1.2, "v1.m4s", `ot=v,sid="s"`)
	r.request(2.1, 2.2, "v2.m4s", `ot=v,sid="s"`)
	r.request(3.1, 3.2, "v3.m4s", `ot=v,sid="s"`)
	r.response(2.3, 1, "/live/test/v1.m4s", "rc=200,ttfb=120,ttlb=1240")
	r.response(2.3, 2, "/live/test/v2.m4s", "rc=200,ttfb=1795160105219,ttlb=10")
	r.response(3.9, 3, "/live/test/v3.m4s", "ttlb=1795160105219")
	exchanges, _ := newJoin(r.requests, r.reports).details()
	one := exchanges[0].Response
	// The clock is read 10 ms late, as the fastest report took that long.
	if *one.Status != 200 || *one.TTFB != 0.12 || *one.TTLB != 1.24 || !one.Time.Equal(after(1.01)) || one.Time.Location() != time.UTC {
		t.Errorf("seen: %+v", one)
	}
	if two := exchanges[1].Response; two.TTFB != nil || *two.TTLB != 0.01 {
		t.Errorf("a first byte after the last is seen: %+v", two)
	}
	if three := exchanges[2].Response; three.TTFB != nil || three.TTLB != nil || three.Status != nil {
		t.Errorf("what was not told is seen: %+v", three)
	}
}

// Every answer that the captured players told of is joined with its request.
func TestResponsesOfCapturedPlayers(t *testing.T) {
	joined := 0
	for _, c := range capturedSessions(t) {
		for i := range c.requests {
			c.requests[i].ID = uuid.Must(uuid.NewV7())
		}
		for _, skew := range []time.Duration{0, -7 * time.Hour, 40 * time.Minute} { // the server's clock is another one
			for i := range c.requests {
				c.requests[i].Time = c.requests[i].Time.Add(skew)
			}
			for i := range c.reports {
				c.reports[i].Time = c.reports[i].Time.Add(skew)
			}
			j := newJoin(c.requests, c.reports)
			exchanges, events := j.details()
			paths, told := map[string]string{}, 0
			for _, e := range exchanges {
				paths[e.ID] = e.Path
				if e.Response == nil {
					continue
				}
				joined++
				if e.Response.TTLB == nil || *e.Response.TTLB > 15 || *e.Response.Status != e.Status && e.Status == 404 {
					t.Errorf("%s: %s: seen %+v", c.run, e.Path, e.Response)
				}
				dash := strings.HasPrefix(c.run, "dash")
				if dash && e.Response.TTFB != nil || !dash && (e.Response.TTFB == nil || *e.Response.TTFB > *e.Response.TTLB+0.001) {
					t.Errorf("%s: %s: first byte after %v s", c.run, e.Path, deref(e.Response.TTFB))
				}
				if d := e.Time.Sub(e.Response.Time); d < -10*time.Millisecond || d > 50*time.Millisecond {
					t.Errorf("%s: %s was asked for %v after the player says", c.run, e.Path, d)
				}
			}
			for _, e := range events {
				if e.Event != "rr" {
					if e.RequestID != "" {
						t.Errorf("%s: a report of %s has a request", c.run, e.Event)
					}
					continue
				}
				told++
				if e.RequestID == "" || !strings.HasSuffix(strings.Trim(e.CMCD["url"], `"`), paths[e.RequestID]) {
					t.Errorf("%s: %s is joined with %q", c.run, e.CMCD["url"], paths[e.RequestID])
				}
			}
			if matches := len(j.matches()); matches != told {
				t.Errorf("%s: %d of %d answers are joined", c.run, matches, told)
			}
		}
	}
	if joined < 500 {
		t.Errorf("only %d answers were joined", joined)
	}
}

// The same records in another order make the same pairs.
func TestOrderDoesNotMatterToResponses(t *testing.T) {
	for _, c := range capturedSessions(t) {
		for i := range c.requests {
			c.requests[i].ID = uuid.Must(uuid.NewV7())
		}
		for i := range c.reports {
			c.reports[i].ID = uuid.Must(uuid.NewV7())
		}
		want := fmt.Sprint(pairs(c.requests, c.reports))
		shuffle := rand.New(rand.NewPCG(3, 4))
		for range 5 {
			shuffle.Shuffle(len(c.requests), func(i, j int) { c.requests[i], c.requests[j] = c.requests[j], c.requests[i] })
			shuffle.Shuffle(len(c.reports), func(i, j int) { c.reports[i], c.reports[j] = c.reports[j], c.reports[i] })
			if got := fmt.Sprint(pairs(c.requests, c.reports)); got != want {
				t.Fatalf("%s: %s, want %s", c.run, got, want)
			}
		}
	}
}

// pairs are the IDs of what belongs together, in order.
func pairs(requests []telemetry.Request, reports []telemetry.Report) []string {
	j := newJoin(requests, reports)
	var out []string
	for request, r := range j.matches() {
		out = append(out, j.requests[request].ID.String()+" "+j.reports[r.report].ID.String())
	}
	slices.Sort(out)
	return out
}

// Whatever is sent: each row has one answer at most, each answer one row, of the same name and at a time
// that can be, and the order of the records does not matter.
func FuzzResponses(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint8(20), uint8(20), "/live/v.m4s", "https://h/live/v.m4s?x=1", "v.m4s")
	f.Add(uint64(5), uint64(6), uint8(3), uint8(200), "/v", "/v?CMCD=x", "../v")
	f.Fuzz(func(t *testing.T, a, b uint64, rows, answers uint8, path, one, two string) {
		source := rand.New(rand.NewPCG(a, b))
		id := func(i int) (out uuid.UUID) {
			out[0], out[1], out[2], out[3] = byte(source.Uint32()), byte(source.Uint32()), byte(i>>8), byte(i)
			return out
		}
		var requests []telemetry.Request
		var reports []telemetry.Report
		for i := range int(rows) {
			r := telemetry.Request{ID: id(i + 1), Time: after(source.Float64() * 5), Duration: time.Millisecond, Path: path, Status: 200 + source.IntN(3)*51}
			if source.IntN(4) == 0 {
				r.Query = "x=1"
			}
			requests = append(requests, r)
		}
		for i := range int(answers) {
			var v cmcd.Values
			start := source.Float64() * 5
			v.SetText(cmcd.KeyE, "rr")
			v.SetText(cmcd.KeyURL, []string{one, two, path}[i%3])
			v.SetNumber(cmcd.KeyTS, math.Trunc(float64(after(start).UnixMilli())+float64(source.IntN(3)-1)*1e3))
			v.SetNumber(cmcd.KeySN, float64(source.IntN(100)))
			if source.IntN(2) == 0 {
				v.SetNumber(cmcd.KeyTTLB, float64(source.IntN(3000)))
			}
			reports = append(reports, telemetry.Report{ID: id(1000 + i), Time: after(start + source.Float64()*2), Path: []string{"/cmcd", "/b"}[source.IntN(2)], CMCD: v})
		}
		want := pairs(requests, reports)
		seen := map[string]bool{}
		for _, p := range want {
			request, report, _ := strings.Cut(p, " ")
			if seen[request] || seen[report] {
				t.Fatalf("%s is in two pairs", p)
			}
			seen[request], seen[report] = true, true
		}
		j := newJoin(requests, reports)
		for request, r := range j.matches() {
			row := j.requests[request]
			if row.Time.Before(r.Start.Add(-answer.Early)) || row.Time.After(j.reports[r.report].Time.Add(answer.Late)) {
				t.Fatalf("a row of %v is joined with an answer asked for at %v", row.Time, r.Start)
			}
			if !strings.HasSuffix(row.Path, r.Path) {
				t.Fatalf("%q is joined with %q", row.Path, r.Path)
			}
		}
		source.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
		source.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })
		if got := pairs(requests, reports); !slices.Equal(got, want) {
			t.Fatalf("in another order %v, not %v", got, want)
		}
	})
}
