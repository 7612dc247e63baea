package session

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/quirk"
	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/analytics/session/answer"
)

// responseEvent is the event in which a player tells of the answer to a request.
const responseEvent = "rr"

// response is a player's report of an answer.
type response struct {
	answer.Response
	report int // its index
}

// matches finds for each report of a response the row of the request that it speaks of. The result has
// the response for the index of the request.
func (j *join) matches() map[int]response {
	responses := j.responses()
	list := make([]answer.Response, len(responses))
	for i := range responses {
		list[i] = responses[i].Response
	}
	out := map[int]response{}
	for request, i := range answer.Match(j.requests, list) {
		out[request] = responses[i]
	}
	return out
}

// responses are the reports of answers, each once: a player tells every target of its reports of the
// same ones, so beside the target that was told of most only those count that it was not told of.
func (j *join) responses() []response {
	type asked struct {
		report int
		at     time.Time // by the player's clock
		late   time.Duration
	}
	type what struct {
		url string
		at  int64
	}
	clock := j.offset
	var all []asked
	var lates []time.Duration
	for i := range j.reports {
		r := &j.reports[i]
		at, ok := playerClock(&r.CMCD, r.Time)
		if !ok || r.CMCD.Text(cmcd.KeyE) != responseEvent || r.CMCD.Text(cmcd.KeyURL) == "" {
			continue
		}
		all = append(all, asked{i, at, r.Time.Sub(at)})
		lates = append(lates, r.Time.Sub(at))
	}
	if !clock.known {
		clock = offsetOf(lates)
	}
	targets := map[string][]asked{}
	for _, a := range all {
		r := &j.reports[a.report]
		if !clock.believes(a.late) {
			continue
		}
		targets[r.Path] = append(targets[r.Path], a)
		// Nothing is told of an answer before it has come. One that would be by far is of another clock.
		took, _ := j.took(&r.CMCD, cmcd.KeyTTLB)
		if d := a.late - seconds(took); !j.offset.known || d > j.offset.by-answer.Early {
			clock.atMost(d)
		}
	}
	order := make([]string, 0, len(targets))
	for target := range targets {
		order = append(order, target)
	}
	slices.SortFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(targets[b]), len(targets[a])), strings.Compare(a, b))
	})
	told := map[what]bool{}
	var out []response
	for _, target := range order {
		here := map[what]bool{}
		for _, a := range targets[target] {
			r := &j.reports[a.report]
			w := what{r.CMCD.Text(cmcd.KeyURL), a.at.UnixMilli()}
			here[w] = true
			if told[w] {
				continue
			}
			one, ok := answer.Read(w.url)
			if !ok {
				continue
			}
			one.Start, one.End, one.Report, one.Received = a.at.Add(clock.by), r.Time, r.ID, r.Time
			if took, known := j.took(&r.CMCD, cmcd.KeyTTLB); known {
				if end := one.Start.Add(seconds(took)); end.Before(one.End) {
					one.End = end
				}
			}
			out = append(out, response{one, a.report})
		}
		for w := range here {
			told[w] = true
		}
	}
	return out
}

// took is a time that the player told of an answer, in seconds, if it can be believed.
func (j *join) took(v *cmcd.Values, k cmcd.Key) (float64, bool) {
	ms, ok := v.Number(k)
	if !ok || quirk.Implausible(k, v) || j.quirks.Ignores(k, v) {
		return 0, false
	}
	return ms / 1e3, true
}

// seen is what the player reported of the answer.
func (j *join) seen(r response) *analytics.Response {
	v := &j.reports[r.report].CMCD
	out := &analytics.Response{Time: r.Start.UTC()}
	if rc, ok := v.Number(cmcd.KeyRC); ok {
		status := int(rc)
		out.Status = &status
	}
	if s, ok := j.took(v, cmcd.KeyTTFB); ok {
		out.TTFB = &s
	}
	if s, ok := j.took(v, cmcd.KeyTTLB); ok {
		out.TTLB = &s
	}
	return out
}
