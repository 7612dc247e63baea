package session

import (
	"bytes"
	"cmp"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/quirk"
	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/telemetry"
)

// responseEvent is the event in which a player tells of the answer to a request.
const responseEvent = "rr"

// early is by how much a request may reach the edge before the player says that it asked. The player's
// clock is set by its fastest report, so all times are late by what that took longer than a request.
// In captured sessions, where nothing is far away, it was 3 ms.
const early = 500 * time.Millisecond

// late is by how much a request may reach the edge after the player had its answer: the clocks of two
// servers are not quite the same, and players round to milliseconds.
const late = 100 * time.Millisecond

// nearest is how many rows are looked at for one response: those that were asked for at about its time.
const nearest = 8

// response is a player's report of an answer, on the server's clock.
type response struct {
	report int
	start  time.Time // when the player asked
	end    time.Time // when the edge was asked at the latest
	host   string    // "" if the URL is relative
	path   string
	query  string // without the CMCD argument
}

// match is a row that a response may speak of.
type match struct {
	response, request int
	misfit            int           // how much else than the path differs
	distance          time.Duration // between asking and being asked
}

// matches finds for each report of a response the row of the request that it speaks of. The result has
// the response for the index of the request; each is in it at most once.
//
// The path is the same; the host and the query may differ, as a redirect changes the one and a signature
// the other, but are better if they do not. The edge was asked after the player began to ask and before
// the player had the last byte: that leaves one row, but where a URL is asked for again at once. There
// the row that is nearest in time is it.
func (j *join) matches() map[int]response {
	responses := j.responses()
	if len(responses) == 0 {
		return nil
	}
	rows := j.rowsOf(responses)
	var all []match
	for i := range responses {
		r := &responses[i]
		all = append(all, j.candidates(i, r, rows[r.key()])...)
	}
	slices.SortFunc(all, func(a, b match) int {
		p, q := &j.requests[a.request], &j.requests[b.request]
		m, n := &j.reports[responses[a.response].report], &j.reports[responses[b.response].report]
		return cmp.Or(
			cmp.Compare(a.misfit, b.misfit), cmp.Compare(a.distance, b.distance),
			p.Time.Compare(q.Time), bytes.Compare(p.ID[:], q.ID[:]),
			m.Time.Compare(n.Time), bytes.Compare(m.ID[:], n.ID[:]),
			cmp.Compare(a.request, b.request), cmp.Compare(a.response, b.response),
		)
	})
	out, taken := map[int]response{}, make([]bool, len(responses))
	for _, m := range all {
		if _, ok := out[m.request]; ok || taken[m.response] {
			continue
		}
		out[m.request], taken[m.response] = responses[m.response], true
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
		if d := a.late - seconds(took); !j.offset.known || d > j.offset.by-early {
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
			w := what{j.reports[a.report].CMCD.Text(cmcd.KeyURL), a.at.UnixMilli()}
			here[w] = true
			if told[w] {
				continue
			}
			if one, ok := j.response(a.report, a.at.Add(clock.by)); ok {
				out = append(out, one)
			}
		}
		for w := range here {
			told[w] = true
		}
	}
	return out
}

// response reads a report of an answer; false if its URL cannot be read.
func (j *join) response(report int, start time.Time) (response, bool) {
	r := &j.reports[report]
	u, err := url.Parse(r.CMCD.Text(cmcd.KeyURL))
	if err != nil || u.Opaque != "" || u.Path == "" {
		return response{}, false
	}
	out := response{report: report, start: start, end: r.Time, host: u.Host, path: u.Path, query: cmcd.StripQuery(u.RawQuery)}
	if strings.Contains(out.path, "//") || strings.Contains(out.path, "/.") || strings.HasPrefix(out.path, ".") {
		out.path = path.Clean(out.path)
	}
	for strings.HasPrefix(out.path, "../") { // relative to what is not known
		out.path = out.path[3:]
	}
	out.path, out.query = telemetry.Clip(out.path), telemetry.Clip(out.query)
	if took, ok := j.took(&r.CMCD, cmcd.KeyTTLB); ok {
		if end := start.Add(seconds(took)); end.Before(out.end) {
			out.end = end
		}
	}
	out.end = out.end.Add(late)
	return out, true
}

// took is a time that the player told of an answer, in seconds, if it can be believed.
func (j *join) took(v *cmcd.Values, k cmcd.Key) (float64, bool) {
	ms, ok := v.Number(k)
	if !ok || quirk.Implausible(k, v) || j.quirks.Ignores(k, v) {
		return 0, false
	}
	return ms / 1e3, true
}

// key is what a response and its row have in common: the path, or the name if the path is relative.
func (r *response) key() string {
	if strings.HasPrefix(r.path, "/") {
		return r.path
	}
	return path.Base(r.path)
}

// rowsOf indexes the rows that responses may speak of, by path and by name.
func (j *join) rowsOf(responses []response) map[string][]int {
	rows := make(map[string][]int, len(responses))
	for i := range responses {
		rows[responses[i].key()] = nil
	}
	for i := range j.requests {
		p := j.requests[i].Path
		if list, ok := rows[p]; ok {
			rows[p] = append(list, i)
		}
		name := path.Base(p)
		if list, ok := rows[name]; ok && name != p {
			rows[name] = append(list, i)
		}
	}
	return rows
}

// candidates are the rows of the list, which is in the order of time, that the response may speak of:
// the nearest ones.
func (j *join) candidates(i int, r *response, rows []int) []match {
	after, _ := slices.BinarySearchFunc(rows, r.start, func(row int, t time.Time) int { return j.requests[row].Time.Compare(t) })
	before := after - 1
	var out []match
	for range nearest {
		earlier := before >= 0 && !j.requests[rows[before]].Time.Before(r.start.Add(-early))
		later := after < len(rows) && !j.requests[rows[after]].Time.After(r.end)
		var row int
		switch {
		case earlier && (!later || r.start.Sub(j.requests[rows[before]].Time) < j.requests[rows[after]].Time.Sub(r.start)):
			row = rows[before]
			before--
		case later:
			row = rows[after]
			after++
		default:
			return out
		}
		if misfit, ok := r.fits(&j.requests[row]); ok {
			out = append(out, match{i, row, misfit, j.requests[row].Time.Sub(r.start).Abs()})
		}
	}
	return out
}

// fits says how much the row differs from what the response speaks of, and whether it can be it.
func (r *response) fits(row *telemetry.Request) (misfit int, ok bool) {
	if !strings.HasPrefix(r.path, "/") && row.Path != r.path && !strings.HasSuffix(row.Path, "/"+r.path) {
		return 0, false
	}
	query, ok := sameQuery(r.query, row.Query)
	if !ok {
		return 0, false
	}
	misfit += query
	if r.host != "" && row.Host != "" && !strings.EqualFold(r.host, row.Host) {
		misfit += 2
	}
	if row.Status >= 300 && row.Status < 400 && row.Status != 304 {
		misfit += 4 // the player tells of the answer at the end of the redirects
	}
	return misfit, true
}

// sameQuery says whether two queries can be of one request: 0 if they are the same, 1 if one of them
// has arguments that the other has not.
func sameQuery(a, b string) (misfit int, ok bool) {
	if a == b {
		return 0, true
	}
	if a == "" || b == "" {
		return 1, true
	}
	p, errA := url.ParseQuery(a)
	q, errB := url.ParseQuery(b)
	if errA != nil || errB != nil {
		return 0, false
	}
	if len(p) > len(q) {
		p, q = q, p
	}
	for name, values := range p {
		if !slices.Equal(values, q[name]) {
			return 0, false
		}
	}
	return min(1, len(q)-len(p)), true
}

// seen is what the player reported of the answer.
func (j *join) seen(r response) *analytics.Response {
	v := &j.reports[r.report].CMCD
	out := &analytics.Response{Time: r.start.UTC()}
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
