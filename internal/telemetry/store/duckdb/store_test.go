//go:build cgo && !noduckdb

package duckdb

import (
	"context"
	"fmt"
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
