package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// Store is what the contract is about.
type Store interface {
	telemetry.Sink
	Select(ctx context.Context, statement string, args ...any) (*sql.Rows, error)
	Records(ctx context.Context, sessionIDs []string, limitPerSession int) (telemetry.Batch, error)
	Close() error
}

// Run holds the store that open returns against the contract. Two calls of open with the same
// directory are the same store; the first has been closed by then.
func Run(t *testing.T, open func(t *testing.T, dir string) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"a request is stored in seconds and bits":   testRequestColumns,
		"a report is stored in seconds and bits":    testReportColumns,
		"what is not known is NULL":                 testNull,
		"a bitrate is that of the object's type":    testObjectType,
		"a record comes back as it was":             testRoundTrip,
		"the kernel's word comes back":              testTCP,
		"records come by session in order of time":  testRecords,
		"appending again changes nothing":           testIdempotent,
		"a report that was sent again is kept once": testResent,
		"an event of the events API comes back":     testPlayback,
		"the faults of a record come back":          testWarnings,
		"readers see whole batches":                 testWholeBatches,
		"any bytes can be stored":                   testAnyBytes,
		"only SELECT is allowed":                    testOnlySelect,
		"a batch of nothing is taken":               testEmpty,
		"a cancelled append is worth another try":   testCancelled,
		"a closed store says so for good":           testClosed,
		"two records of the same time are two rows": testSameTime,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test(t, s)
		})
	}
	t.Run("what was appended is there when it is opened again", func(t *testing.T) { testReopen(t, open) })
	t.Run("a report that was sent again after that is kept once", func(t *testing.T) { testResentAfterReopen(t, open) })
}

var day = time.Date(2026, 5, 4, 12, 0, 0, 123456000, time.UTC)

func parse(t *testing.T, record string) cmcd.Values {
	t.Helper()
	v, err := cmcd.Parse(record)
	if err != nil {
		t.Fatalf("parse %q: %v", record, err)
	}
	return v
}

// request returns a request of session sid, n milliseconds into the day.
func request(t *testing.T, sid string, n int) telemetry.Request {
	t.Helper()
	return telemetry.Request{
		ID: uuid.Must(uuid.NewV7()), Time: day.Add(time.Duration(n) * time.Millisecond), Edge: "edge-1",
		Client: netip.MustParseAddr("2001:db8::7"), ClientPort: 40711, UserAgent: "player/1", Referer: "https://example.com/",
		Method: "GET", Host: "example.com", Path: "/live/news/video-7-42.m4s", Query: "token=x", Proto: "HTTP/1.1",
		Stream: "news", Kind: "segment", Range: "bytes=0-99", Status: 206, Bytes: 100, ContentType: "video/mp4",
		TTFB: 1500 * time.Microsecond, Duration: 2 * time.Second, Aborted: true,
		CacheStatus: "miss", MissReason: "expired", CollapsedWait: 250 * time.Millisecond,
		OriginStatus: 200, OriginTTFB: 12 * time.Millisecond, OriginDuration: 345678 * time.Microsecond,
		Origin: "origin-1", OriginAddress: "[2001:db8::80]:443", Queued: 7 * time.Millisecond, Tenant: "acme", Refusal: "token-expired",
		TCP: telemetry.TCP{
			RTT: 23456 * time.Microsecond, MinRTT: 21 * time.Millisecond, Sent: 104_000, Retransmitted: 2896, Unsent: 1448,
			DeliveryRate: 25_000_008, AppLimited: true, Busy: 310 * time.Millisecond, RwndLimited: 12 * time.Millisecond, SndbufLimited: 3 * time.Microsecond,
		},
		CMCD:    parse(t, fmt.Sprintf(`bl=2100,br=3000,bs,cid="c",d=4004,dl=1900,mtp=15000,ot=v,pr=1.5,rtp=12000,sf=h,sid="%s",st=l,su,tb=6000,com.example-x="y"`, sid)),
		HasCMCD: true,
	}
}

func report(t *testing.T, record string, n int) telemetry.Report {
	t.Helper()
	return telemetry.Report{
		ID: uuid.Must(uuid.NewV7()), Time: day.Add(time.Duration(n) * time.Millisecond), Edge: "edge-1",
		Client: netip.MustParseAddr("192.0.2.7"), UserAgent: "player/1", Path: "/cmcd", CMCD: parse(t, record),
	}
}

func mustAppend(t *testing.T, s Store, batch telemetry.Batch) {
	t.Helper()
	if err := s.Append(context.Background(), batch); err != nil {
		t.Fatalf("append: %v", err)
	}
}

// row returns the only row of the query, by column.
func row(t *testing.T, s Store, statement string, args ...any) map[string]any {
	t.Helper()
	rows, err := s.Select(context.Background(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values := make([]any, len(names))
	targets := make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	n := 0
	for ; rows.Next(); n++ {
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil || n != 1 {
		t.Fatalf("%s: %d rows, want 1; error %v", statement, n, err)
	}
	m := map[string]any{}
	for i, name := range names {
		if at, ok := values[i].(time.Time); ok {
			values[i] = at.UTC()
		}
		m[name] = values[i]
	}
	return m
}

// run runs a statement and forgets its rows.
func run(s Store, statement string) error {
	rows, err := s.Select(context.Background(), statement)
	if err != nil {
		return err
	}
	defer rows.Close()
	return rows.Err()
}

func count(t *testing.T, s Store, table string) int64 {
	t.Helper()
	n, ok := row(t, s, "SELECT count(*) AS n FROM "+table)["n"].(int64)
	if !ok {
		t.Fatalf("count of %s is no int64", table)
	}
	return n
}

func compare(t *testing.T, got, want map[string]any) {
	t.Helper()
	for name, w := range want {
		g, ok := got[name]
		if !ok {
			t.Errorf("no column %s", name)
			continue
		}
		if diff := cmp.Diff(w, g); diff != "" {
			t.Errorf("column %s (-want +got):\n%s", name, diff)
		}
	}
}

func testRequestColumns(t *testing.T, s Store) {
	r := request(t, "s1", 0)
	mustAppend(t, s, telemetry.Batch{Requests: []telemetry.Request{r}})
	got := row(t, s, "SELECT * REPLACE (CAST(id AS VARCHAR) AS id) FROM requests")
	want := map[string]any{
		"id": r.ID.String(), "time": day, "edge": "edge-1", "client": "2001:db8::7", "client_port": int32(40711),
		"user_agent": "player/1", "referer": "https://example.com/", "method": "GET", "host": "example.com",
		"path": "/live/news/video-7-42.m4s", "query": "token=x", "proto": "HTTP/1.1", "stream": "news", "kind": "segment",
		"range": "bytes=0-99", "status": int32(206), "bytes": int64(100), "content_type": "video/mp4",
		"ttfb": 0.0015, "duration": 2.0, "aborted": true, "cache_status": "miss", "miss_reason": "expired", "collapsed_wait": 0.25,
		"origin_status": int32(200), "origin_ttfb": 0.012, "origin_duration": 0.345678, "has_cmcd": true, "cmcd": r.CMCD.String(),
		"cmcd_version": int32(1), "session_id": "s1", "content_id": "c", "object_type": "v", "streaming_format": "h", "stream_type": "l",
		"player_state": nil, "bitrate": 3e6, "top_bitrate": 6e6, "throughput": 15e6, "buffer_length": 2.1, "object_duration": 4.004,
		"deadline": 1.9, "buffer_starved": true, "startup": true, "playback_rate": 1.5, "requested_throughput": 12e6,
		"live_latency": nil, "start_delay": nil, "playhead_time": nil, "sequence_number": nil,
		"cmcd_warnings": int64(0),
		"origin":        "origin-1", "origin_address": "[2001:db8::80]:443", "queued": 0.007, "tenant": "acme", "refusal": "token-expired",
		"tcp_rtt": 0.023456, "tcp_min_rtt": 0.021, "tcp_sent": int64(104_000), "tcp_retransmitted": int64(2896), "tcp_unsent": int64(1448),
		"tcp_delivery_rate": 25_000_008.0, "tcp_app_limited": true, "tcp_busy": 0.31, "tcp_rwnd_limited": 0.012, "tcp_sndbuf_limited": 0.000003,
	}
	compare(t, got, want)
	if len(got) != len(want) {
		t.Errorf("%d columns, want %d", len(got), len(want))
	}
}

func testReportColumns(t *testing.T, s Store) {
	r := report(t, `bl=(2100),bsa=(3),bsda=(4150),e=ps,ltc=3500,msd=812,pt=29188,sid="s1",sn=129,sta=r,ts=1764269150889,v=2`, 0)
	r.ClockOffset = new(-2500 * time.Millisecond)
	mustAppend(t, s, telemetry.Batch{Reports: []telemetry.Report{r}})
	got := row(t, s, "SELECT * REPLACE (CAST(id AS VARCHAR) AS id) FROM reports")
	want := map[string]any{
		"id": r.ID.String(), "time": day, "edge": "edge-1", "client": "192.0.2.7", "user_agent": "player/1", "path": "/cmcd",
		"event": "ps", "event_time": time.UnixMilli(1764269150889).UTC(), "cmcd": r.CMCD.String(), "cmcd_version": int32(2),
		"session_id": "s1", "content_id": nil, "object_type": nil, "streaming_format": nil, "stream_type": nil, "player_state": "r",
		"bitrate": nil, "top_bitrate": nil, "throughput": nil, "buffer_length": 2.1, "object_duration": nil, "deadline": nil,
		"buffer_starved": false, "startup": false, "playback_rate": nil, "requested_throughput": nil, "live_latency": 3.5,
		"start_delay": 0.812, "playhead_time": 29.188, "sequence_number": int64(129), "starvations": int64(3), "starvation_time": 4.15,
		"cmcd_warnings": int64(0), "clock_offset": -2.5, "event_id": nil, "event_type": nil, "customer_id": nil, "device_type": nil,
		"device_os": nil, "quality": nil, "country": nil, "state": nil, "city": nil, "watched": nil, "completion": nil,
	}
	compare(t, got, want)
	if len(got) != len(want) {
		t.Errorf("%d columns, want %d", len(got), len(want))
	}
}

func testNull(t *testing.T, s Store) {
	mustAppend(t, s, telemetry.Batch{
		Requests: []telemetry.Request{{ID: uuid.Must(uuid.NewV7()), Time: day}},
		Reports:  []telemetry.Report{{ID: uuid.Must(uuid.NewV7()), Time: day, CMCD: parse(t, `sid="s"`)}},
	})
	known := map[string]any{"bytes": int64(0), "aborted": false, "has_cmcd": false}
	for name, value := range row(t, s, "SELECT * EXCLUDE (id, time) FROM requests") {
		if value != known[name] {
			t.Errorf("column %s of a request that says nothing is %v, want %v", name, value, known[name])
		}
	}
	known = map[string]any{
		"event": "", "cmcd": `sid="s"`, "session_id": "s", "cmcd_version": int32(1), "buffer_starved": false, "startup": false,
		"cmcd_warnings": int64(0),
	}
	for name, value := range row(t, s, "SELECT * EXCLUDE (id, time) FROM reports") {
		if value != known[name] {
			t.Errorf("column %s of a report that says only its session is %v, want %v", name, value, known[name])
		}
	}
}

func testObjectType(t *testing.T, s Store) {
	r := request(t, "s", 0)
	r.CMCD = parse(t, `bl=(2100;v 1800;a),br=(3000;v 164;a),ot=a,sid="s",tb=(6000;v),v=2`)
	mustAppend(t, s, telemetry.Batch{Requests: []telemetry.Request{r}})
	compare(t, row(t, s, "SELECT bitrate, buffer_length, top_bitrate FROM requests"),
		map[string]any{"bitrate": 164e3, "buffer_length": 1.8, "top_bitrate": nil}) // the top bitrate of video
}

// same compares records by what their CMCD says, and what was wrong with it.
var same = cmp.Options{
	cmp.Comparer(func(a, b cmcd.Values) bool { return a.Equal(&b) && a.Warnings == b.Warnings }),
	cmpopts.EquateComparable(netip.Addr{}),
}

func testRoundTrip(t *testing.T, s Store) {
	full := request(t, "s", 0)
	if name := firstZero(reflect.ValueOf(full), "Request"); name != "" {
		t.Fatalf("%s is the zero value, so that nothing would be missed if it were not stored", name)
	}
	want := telemetry.Batch{
		Requests: []telemetry.Request{full},
		Reports:  []telemetry.Report{report(t, `com.example-a=token,e=ce,cen="x",nor=("a" "b";r="0-9"),sid="s",ts=1,v=2`, 0)},
	}
	mustAppend(t, s, want)
	got, err := s.Records(context.Background(), []string{"s"}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func testRecords(t *testing.T, s Store) {
	var batch telemetry.Batch
	for i := range 30 {
		n := i * 7 % 30 // they do not arrive in order
		batch.Requests = append(batch.Requests, request(t, []string{"a", "b", "c"}[n%3], n))
		batch.Reports = append(batch.Reports, report(t, fmt.Sprintf(`e=t,sid="%c",sn=%d,v=2`, "abc"[n%3], n), n))
	}
	mustAppend(t, s, batch)
	got, err := s.Records(context.Background(), []string{"a", "c", "nobody"}, 4)
	if err != nil {
		t.Fatal(err)
	}
	wantAt := []int{0, 2, 3, 5, 6, 8, 9, 11} // milliseconds: the first four of a and of c
	var requests, reports []int
	for _, r := range got.Requests {
		requests = append(requests, int(r.Time.Sub(day).Milliseconds()))
	}
	for _, r := range got.Reports {
		reports = append(reports, int(r.Time.Sub(day).Milliseconds()))
	}
	if diff := cmp.Diff(wantAt, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantAt, reports); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if none, err := s.Records(context.Background(), nil, 4); err != nil || none.Len() != 0 {
		t.Errorf("records of no session: %d, error %v", none.Len(), err)
	}
}

func testIdempotent(t *testing.T, s Store) {
	batch := telemetry.Batch{
		Requests: []telemetry.Request{request(t, "s", 0), request(t, "s", 1), request(t, "s", 900000)},
		Reports:  []telemetry.Report{report(t, `e=t,sid="s",v=2`, 0)},
	}
	// Times finer than those of the store must not hide that it is the same record.
	batch.Requests[0].Time = batch.Requests[0].Time.Add(999)
	mustAppend(t, s, batch)
	mustAppend(t, s, batch)
	overlap := telemetry.Batch{Requests: append([]telemetry.Request{request(t, "s", 2)}, batch.Requests...)}
	overlap.Requests = append(overlap.Requests, overlap.Requests[0])
	overlap.Reports = append(overlap.Reports, batch.Reports[0], report(t, `e=t,sid="s",v=2`, 0))
	mustAppend(t, s, overlap)
	if n := count(t, s, "requests"); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
	if n := count(t, s, "reports"); n != 2 {
		t.Errorf("%d reports, want 2", n)
	}
}

func testSameTime(t *testing.T, s Store) {
	for range 3 {
		mustAppend(t, s, telemetry.Batch{Requests: []telemetry.Request{request(t, "s", 0), request(t, "s", 0)}})
	}
	if n := count(t, s, "requests"); n != 6 {
		t.Errorf("%d requests, want 6", n)
	}
}

func testWholeBatches(t *testing.T, s Store) {
	const batches, size = 20, 50
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				n := count(t, s, "requests")
				if n%size != 0 {
					t.Errorf("a reader saw %d requests, which is no multiple of %d", n, size)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range batches {
		var batch telemetry.Batch
		for j := range size {
			batch.Requests = append(batch.Requests, request(t, "s", i*size+j))
		}
		if err := s.Append(context.Background(), batch); err != nil {
			t.Errorf("append: %v", err)
		}
	}
	close(done)
	readers.Wait()
	if n := count(t, s, "requests"); n != batches*size {
		t.Errorf("%d requests, want %d", n, batches*size)
	}
}

func testAnyBytes(t *testing.T, s Store) {
	r := request(t, "s", 0)
	r.Path, r.UserAgent, r.Query = "/\xff\xfe", "a\x00b", "é'\"; DROP TABLE requests; --"
	r.CMCD = cmcd.Values{}
	r.CMCD.SetText(cmcd.KeySID, "\xc3\x28\n")
	mustAppend(t, s, telemetry.Batch{Requests: []telemetry.Request{r}})
	if got := row(t, s, "SELECT query FROM requests WHERE query = ?", r.Query)["query"]; got != r.Query {
		t.Errorf("query is %q, want %q", got, r.Query)
	}
}

func testOnlySelect(t *testing.T, s Store) {
	mustAppend(t, s, telemetry.Batch{Requests: []telemetry.Request{request(t, "s", 0)}})
	for _, statement := range []string{
		"DELETE FROM requests", "INSERT INTO requests (id) VALUES ('x')", "UPDATE requests SET edge = 'x'", "DROP TABLE requests",
		"CREATE TABLE t (i INTEGER)", "SELECT 1; DELETE FROM requests", "SELECT 1; SELECT 2", "BEGIN", "", ";",
		"WITH x AS (SELECT 1) DELETE FROM requests",
	} {
		if err := run(s, statement); err == nil {
			t.Errorf("%q was allowed", statement)
		}
	}
	for _, statement := range []string{"SELECT count(*) AS n FROM requests", "WITH x AS (SELECT 1) SELECT count(*) AS n FROM x, requests"} {
		if n := row(t, s, statement)["n"]; n != int64(1) {
			t.Errorf("%q gave %v, want 1", statement, n)
		}
	}
}

func testEmpty(t *testing.T, s Store) {
	mustAppend(t, s, telemetry.Batch{})
	if n := count(t, s, "requests") + count(t, s, "reports"); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

func testCancelled(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	batch := telemetry.Batch{Requests: []telemetry.Request{request(t, "s", 0)}}
	err := s.Append(ctx, batch)
	if err == nil || telemetry.IsPermanent(err) {
		t.Errorf("append with a cancelled context: error %v, want one that is not permanent", err)
	}
	mustAppend(t, s, batch)
	if n := count(t, s, "requests"); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func testClosed(t *testing.T, s Store) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(context.Background(), telemetry.Batch{Requests: []telemetry.Request{request(t, "s", 0)}}); !telemetry.IsPermanent(err) {
		t.Errorf("append to a closed store: error %v, want a permanent one", err)
	}
	if err := run(s, "SELECT 1"); err == nil {
		t.Error("a closed store answers queries")
	}
}

func testReopen(t *testing.T, open func(t *testing.T, dir string) Store) {
	dir := t.TempDir()
	batch := telemetry.Batch{Requests: []telemetry.Request{request(t, "s", 0)}}
	for range 3 {
		s := open(t, dir)
		mustAppend(t, s, batch)
		if n := count(t, s, "requests"); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
