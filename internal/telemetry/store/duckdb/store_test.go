//go:build cgo && !noduckdb

package duckdb

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
	"github.com/weir-stream/weir/internal/telemetry/store/storetest"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := New(Settings{Config: DefaultConfig(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, dir string) storetest.Store {
		config := DefaultConfig()
		config.Retention = 0
		s, err := New(Settings{Config: config, Dir: dir, Registerer: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// requests returns n requests of one session, a millisecond apart from start.
func requests(n int, start time.Time) telemetry.Batch {
	var b telemetry.Batch
	for i := range n {
		r := telemetry.Request{ID: uuid.Must(uuid.NewV7()), Time: start.Add(time.Duration(i) * time.Millisecond), Edge: "edge-1", HasCMCD: true}
		r.CMCD.SetText(cmcd.KeySID, "s")
		b.Requests = append(b.Requests, r)
	}
	return b
}

func number(t *testing.T, s *Store, statement string, args ...any) (n int) {
	t.Helper()
	n, err := selectNumber(t.Context(), s, statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return n
}

// selectNumber runs a query to its end and returns the number in its last row.
func selectNumber(ctx context.Context, s *Store, statement string, args ...any) (n int, err error) {
	rows, err := s.Select(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

func TestRetentionDeletesWhatIsTooOld(t *testing.T) {
	s := open(t, t.TempDir())
	now := time.Now()
	for _, age := range []time.Duration{0, 29 * 24 * time.Hour, 31 * 24 * time.Hour} {
		if err := s.Append(t.Context(), requests(10, now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.expire(now.Add(-s.config.Retention)); err != nil {
		t.Fatal(err)
	}
	if n := number(t, s, "SELECT count(*) FROM requests"); n != 20 {
		t.Errorf("%d requests are left, want 20", n)
	}
}

func TestSelectCannotLeaveTheDatabase(t *testing.T) {
	s := open(t, t.TempDir())
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(secret, []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"SELECT count(*) FROM read_csv('" + secret + "')", "SELECT count(*) FROM '" + secret + "'",
		"SELECT count(*) FROM read_text('" + secret + "')", "SELECT count(*) FROM glob('/*')", "COPY requests TO '" + secret + "'", "ATTACH '" + secret + "'", "SET memory_limit = '100GB'",
		"INSTALL httpfs", "LOAD httpfs", "PRAGMA enable_external_access = true", "EXPLAIN ANALYZE DELETE FROM requests",
		"SELECT count(*) FROM read_parquet('https://example.com/x.parquet')", "EXPORT DATABASE '" + secret + "'",
	} {
		if _, err := selectNumber(t.Context(), s, statement); err == nil {
			t.Errorf("%s was allowed", statement)
		}
	}
}

func TestSelectEndsAfterItsTime(t *testing.T) {
	config := DefaultConfig()
	config.QueryTimeout = 50 * time.Millisecond
	s, err := New(Settings{Config: config, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := selectNumber(t.Context(), s, "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"); err == nil {
		t.Error("a query of hours came to its end")
	}
	if err := s.Append(t.Context(), requests(1, time.Now())); err != nil {
		t.Errorf("append after a query that was cut off: %v", err)
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	write(t, s, "INSERT INTO schema_version VALUES (99, now()::TIMESTAMP)")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Settings{Config: DefaultConfig(), Dir: dir}); err == nil || !strings.Contains(err.Error(), "newer Weir") {
		t.Errorf("error is %v, want one that speaks of a newer Weir", err)
	}
}

// testdata/version-1.duckdb.gz is a database as the first release left it: a request of a session with
// CMCD, one without, and a report.
func TestADatabaseOfVersion1IsReadAndWritten(t *testing.T) {
	dir := unpack(t, "testdata/version-1.duckdb.gz")
	for round := range 2 { // the second time there is nothing to migrate
		s, err := New(Settings{Config: forEver(), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Records(t.Context(), []string{"old"}, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Requests) != 1 || len(got.Reports) != 1 {
			t.Fatalf("%d requests and %d reports of the session, want one of each", len(got.Requests), len(got.Reports))
		}
		q, r := got.Requests[0], got.Reports[0]
		if q.Path != "/live/news/video-7-42.m4s" || q.Client != netip.MustParseAddr("192.0.2.7") || q.CMCD.Text(cmcd.KeyCID) != "c" {
			t.Errorf("request is %+v", q)
		}
		if r.StateChange() != "r" || r.ClockOffset != nil || r.Playback != nil || r.CMCD.Warnings != 0 {
			t.Errorf("report is %+v", r)
		}
		v, err := cmcd.Parse(`br=900,e=t,sid="new",v=2`)
		if err != nil {
			t.Fatal(err)
		}
		batch := requests(1, time.Date(2026, 5, 5, 0, round, 0, 0, time.UTC))
		batch.Reports = []telemetry.Report{{ID: uuid.Must(uuid.NewV7()), Time: batch.Requests[0].Time, CMCD: v, ClockOffset: new(time.Second)}}
		if err := s.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, "SELECT count(*) FROM reports WHERE clock_offset = 1 AND cmcd_warnings > 0"); n != round+1 {
			t.Errorf("%d new reports, want %d", n, round+1)
		}
		if n := number(t, s, "SELECT count(*) FROM requests"); n != 3+round {
			t.Errorf("%d requests, want %d", n, 3+round)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// testdata/version-2.duckdb.gz is a database from before rows told of the origin, of refusals and of TCP: a request of
// a session with CMCD, one without, and a report of an event.
func TestADatabaseOfVersion2IsReadAndWritten(t *testing.T) {
	dir := unpack(t, "testdata/version-2.duckdb.gz")
	for round := range 2 { // the second time there is nothing to migrate
		s, err := New(Settings{Config: forEver(), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, "SELECT max(version) FROM schema_version"); n != len(migrations) {
			t.Errorf("the schema has version %d, want %d", n, len(migrations))
		}
		got, err := s.Records(t.Context(), []string{"old"}, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Requests) != 1 || len(got.Reports) != 1 {
			t.Fatalf("%d requests and %d reports of the session, want one of each", len(got.Requests), len(got.Reports))
		}
		q, r := got.Requests[0], got.Reports[0]
		if q.MissReason != "evicted" || q.OriginTTFB != 29*time.Millisecond || q.CMCD.Text(cmcd.KeyCID) != "c" {
			t.Errorf("request is %+v", q)
		}
		if q.Origin != "" || q.OriginAddress != "" || q.Queued != 0 || q.Tenant != "" || q.Refusal != "" || q.TCP.Known() {
			t.Errorf("an old request tells what nobody had asked for: %+v", q)
		}
		if r.Playback == nil || r.Playback.Country != "Sweden" || *r.ClockOffset != time.Second {
			t.Errorf("report is %+v", r)
		}
		batch := requests(1, time.Date(2026, 5, 5, 0, round, 0, 0, time.UTC))
		batch.Requests[0].Refusal, batch.Requests[0].TCP = "geo-denied", telemetry.TCP{RTT: time.Millisecond}
		if err := s.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, "SELECT count(*) FROM requests WHERE refusal = 'geo-denied' AND tcp_rtt = 0.001"); n != round+1 {
			t.Errorf("%d new requests, want %d", n, round+1)
		}
		if n := number(t, s, "SELECT count(*) FROM requests"); n != 3+round {
			t.Errorf("%d requests, want %d", n, 3+round)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// unpack returns a directory with the database that the file holds.
func unpack(t *testing.T, file string) string {
	t.Helper()
	packed, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRecentReportsAreBounded(t *testing.T) {
	var r recent
	id := func(n int) uuid.UUID {
		return uuid.UUID{6: resendable << 4, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
	}
	for n := range 2*recentCount + 1 {
		r.add(id(n))
	}
	if !r.has(id(2*recentCount)) || !r.has(id(recentCount+1)) || r.has(id(0)) {
		t.Error("the last reports are not known, or the first still is")
	}
	if n := len(r.young) + len(r.old); n > 2*recentCount {
		t.Errorf("%d IDs are remembered, want at most %d", n, 2*recentCount)
	}
}

func TestABrokenDatabaseIsOpenedAgain(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Append(t.Context(), requests(5, time.Now())); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
	if err := s.Append(t.Context(), requests(5, time.Now())); err != nil {
		t.Fatal(err)
	}
	if n := number(t, s, "SELECT count(*) FROM requests"); n != 10 {
		t.Errorf("%d requests, want 10", n)
	}
}

func TestAMismatchIsPermanent(t *testing.T) {
	s := open(t, t.TempDir())
	write(t, s, "ALTER TABLE requests ADD COLUMN stranger INTEGER")
	if err := s.Append(t.Context(), requests(5, time.Now())); !telemetry.IsPermanent(err) {
		t.Errorf("append to a table of another shape: error %v, want a permanent one", err)
	}
	reports := telemetry.Batch{Reports: []telemetry.Report{{ID: uuid.Must(uuid.NewV7()), Time: time.Now()}}}
	if err := s.Append(t.Context(), reports); err != nil {
		t.Errorf("the store does not go on after that: %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{500, 5000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := open(b, b.TempDir())
			v, err := cmcd.Parse(`bl=21300,br=3200,cid="content-1",d=4004,dl=18500,mtp=48100,nor="..%2F300kbps%2Ftrack.m4v",ot=v,pr=1.08,rtp=12000,sf=h,sid="6e2fb550-c457-11e9-bb97-0800200c9a66",st=v,su,tb=6000`)
			if err != nil {
				b.Fatal(err)
			}
			start := time.Now()
			n := 0
			for b.Loop() {
				var batch telemetry.Batch
				for range size {
					n++
					batch.Requests = append(batch.Requests, telemetry.Request{
						ID: uuid.Must(uuid.NewV7()), Time: start.Add(time.Duration(n) * 100 * time.Microsecond), Edge: "edge-1",
						Client: netip.MustParseAddr("192.0.2.7"), ClientPort: 4711, UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
						Method: "GET", Host: "example.com", Path: fmt.Sprintf("/live/news/video-1-%d.m4s", n), Proto: "HTTP/1.1",
						Stream: "news", Kind: "segment", Status: 200, Bytes: 1 << 20, ContentType: "video/mp4",
						TTFB: time.Millisecond, Duration: 20 * time.Millisecond, CacheStatus: "hit", CMCD: v, HasCMCD: true,
					})
				}
				if err := s.Append(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// write runs a statement of the writer, which expiry may be using.
func write(t *testing.T, s *Store, statement string) {
	t.Helper()
	s.writing.Lock()
	defer s.writing.Unlock()
	if _, err := s.db.exec(statement); err != nil {
		t.Fatal(err)
	}
}
