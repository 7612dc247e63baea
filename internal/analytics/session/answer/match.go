package answer

import (
	"bytes"
	"cmp"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// Early is by how much a request may reach the edge before the player says that it asked. The player's
// clock is set by its fastest report, so all times are late by what that took longer than a request.
// In captured sessions, where nothing is far away, it was 3 ms.
const Early = 500 * time.Millisecond

// Late is by how much a request may reach the edge after the player had its answer: the clocks of two
// servers are not quite the same, and players round to milliseconds.
const Late = 100 * time.Millisecond

// nearest is how many rows are looked at for one response: those that were asked for at about its time.
const nearest = 8

// Response is a player's report of an answer, on the server's clock.
type Response struct {
	// Start is when the player asked, End when it had the answer.
	Start, End time.Time
	// Report is the report's ID, Received when it was received: of two that fit alike, the earlier is taken.
	Report   uuid.UUID
	Received time.Time

	// Path is that of the URL, without a slash at the front if the URL is relative.
	Path string

	host  string // "" if the URL is relative
	query string // without the CMCD argument
}

// Read reads the URL of a report; false if it cannot be read. The rest of the response is the caller's.
func Read(address string) (Response, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.Path == "" {
		return Response{}, false
	}
	out := Response{Path: u.Path, host: u.Host, query: cmcd.StripQuery(u.RawQuery)}
	if strings.Contains(out.Path, "//") || strings.Contains(out.Path, "/.") || strings.HasPrefix(out.Path, ".") {
		out.Path = path.Clean(out.Path)
	}
	for strings.HasPrefix(out.Path, "../") { // relative to what is not known
		out.Path = out.Path[3:]
	}
	out.Path, out.query = telemetry.Clip(out.Path), telemetry.Clip(out.query)
	return out, true
}

// match is a row that a response may speak of.
type match struct {
	response, request int
	misfit            int           // how much else than the path differs
	distance          time.Duration // between asking and being asked
}

// Match finds for each response the row of the request that it speaks of. The requests are in the order of
// time. The result has the index of the response for that of the request; each is in it at most once.
//
// The path is the same; the host and the query may differ, as a redirect changes the one and a signature
// the other, but are better if they do not. The edge was asked after the player began to ask and before
// the player had the last byte: that leaves one row, but where a URL is asked for again at once. There
// the row that is nearest in time is it.
func Match(requests []telemetry.Request, responses []Response) map[int]int {
	if len(responses) == 0 {
		return nil
	}
	rows := rowsOf(requests, responses)
	var all []match
	for i := range responses {
		r := &responses[i]
		all = append(all, candidates(requests, i, r, rows[r.key()])...)
	}
	slices.SortFunc(all, func(a, b match) int {
		p, q := &requests[a.request], &requests[b.request]
		m, n := &responses[a.response], &responses[b.response]
		return cmp.Or(
			cmp.Compare(a.misfit, b.misfit), cmp.Compare(a.distance, b.distance),
			p.Time.Compare(q.Time), bytes.Compare(p.ID[:], q.ID[:]),
			m.Received.Compare(n.Received), bytes.Compare(m.Report[:], n.Report[:]),
			cmp.Compare(a.request, b.request), cmp.Compare(a.response, b.response),
		)
	})
	out, taken := map[int]int{}, make([]bool, len(responses))
	for _, m := range all {
		if _, ok := out[m.request]; ok || taken[m.response] {
			continue
		}
		out[m.request], taken[m.response] = m.response, true
	}
	return out
}

// key is what a response and its row have in common: the path, or the name if the path is relative.
func (r *Response) key() string {
	if strings.HasPrefix(r.Path, "/") {
		return r.Path
	}
	return path.Base(r.Path)
}

// rowsOf indexes the rows that responses may speak of, by path and by name.
func rowsOf(requests []telemetry.Request, responses []Response) map[string][]int {
	rows := make(map[string][]int, len(responses))
	for i := range responses {
		rows[responses[i].key()] = nil
	}
	for i := range requests {
		p := requests[i].Path
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
func candidates(requests []telemetry.Request, i int, r *Response, rows []int) []match {
	after, _ := slices.BinarySearchFunc(rows, r.Start, func(row int, t time.Time) int { return requests[row].Time.Compare(t) })
	before := after - 1
	var out []match
	for range nearest {
		earlier := before >= 0 && !requests[rows[before]].Time.Before(r.Start.Add(-Early))
		later := after < len(rows) && !requests[rows[after]].Time.After(r.End.Add(Late))
		var row int
		switch {
		case earlier && (!later || r.Start.Sub(requests[rows[before]].Time) < requests[rows[after]].Time.Sub(r.Start)):
			row = rows[before]
			before--
		case later:
			row = rows[after]
			after++
		default:
			return out
		}
		if misfit, ok := r.fits(&requests[row]); ok {
			out = append(out, match{i, row, misfit, requests[row].Time.Sub(r.Start).Abs()})
		}
	}
	return out
}

// fits says how much the row differs from what the response speaks of, and whether it can be it.
func (r *Response) fits(row *telemetry.Request) (misfit int, ok bool) {
	if !strings.HasPrefix(r.Path, "/") && row.Path != r.Path && !strings.HasSuffix(row.Path, "/"+r.Path) {
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
