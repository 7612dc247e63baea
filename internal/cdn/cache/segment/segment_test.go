package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRecordsOfAllSizesSurviveARestart(t *testing.T) {
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 512 << 20, SegmentBytes: 80 << 20}
	s := open(t, settings)
	random := rand.New(rand.NewPCG(1, 2))
	sizes := []int{
		0, 1, 3967, 3968, 3969, 4000, 4095, 4096, 5000, BlockBytes - 1, BlockBytes, BlockBytes + 1, 2 * BlockBytes,
		2*BlockBytes + 1, 1 << 20, 3<<20 + 5, MaxBodyBytes,
	}
	var refs []Ref
	for i, n := range sizes {
		r, err := s.Append(metaOf(uint64(i), n), pieces(random, bodyOf(uint64(i), n))...)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if r.BodyBytes != int64(n) || r.MetaBytes != 16 {
			t.Errorf("%d bytes: ref is %+v", n, r)
		}
		if err := whole(s, r, uint64(i), n); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		refs = append(refs, r)
	}
	checkBooks(t, s, refs...)
	used := s.Used()
	mustClose(t, s)

	s = open(t, settings)
	if s.Used() != used {
		t.Errorf("used %d after the restart, %d before", s.Used(), used)
	}
	refs = nil
	for r, meta := range s.Recovered {
		seed, n := readMeta(meta)
		if seed != uint64(len(refs)) {
			t.Fatalf("record %d came as number %d", seed, len(refs))
		}
		if err := whole(s, r, seed, n); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		refs = append(refs, r)
	}
	if len(refs) != len(sizes) {
		t.Errorf("%d records were found, want %d", len(refs), len(sizes))
	}
	for range s.Recovered {
		t.Fatal("records were found twice")
	}
	checkBooks(t, s, refs...)
}

func TestMetaOfAllSizes(t *testing.T) {
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 64 << 20, SegmentBytes: 8 << 20}
	s := open(t, settings)
	want := make(map[string]bool)
	for _, n := range []int{0, 1, 4032, 4033, 5000, 70_000, MaxMetaBytes} {
		for _, body := range []int{0, 1, 5000, BlockBytes, 200_000} {
			meta := bodyOf(uint64(n), n)
			if n > 8 {
				copy(meta, fmt.Sprintf("%08d", body))
			}
			r, err := s.Append(meta, bodyOf(uint64(body), body))
			if err != nil {
				t.Fatalf("%d bytes of meta, %d of body: %v", n, body, err)
			}
			g, err := s.Acquire(r)
			if err != nil || !bytes.Equal(g.Bytes(), bodyOf(uint64(body), body)) {
				t.Fatalf("%d bytes of meta, %d of body: %v", n, body, err)
			}
			if got, err := g.Meta(); err != nil || !bytes.Equal(got, meta) {
				t.Errorf("%d bytes of meta: %v", n, err)
			}
			g.Release()
			want[string(meta)] = true
		}
	}
	mustClose(t, s)
	s = open(t, settings)
	for r, meta := range s.Recovered {
		delete(want, string(meta))
		g, err := s.Acquire(r)
		if err != nil || !bytes.Equal(g.Bytes(), bodyOf(uint64(r.BodyBytes), int(r.BodyBytes))) {
			t.Fatalf("%d bytes of meta, %d of body: %v", r.MetaBytes, r.BodyBytes, err)
		}
		g.Release()
	}
	if len(want) > 0 {
		t.Errorf("%d metas were not found", len(want))
	}
}

func TestWhatIsTooLargeIsRefused(t *testing.T) {
	s := open(t, Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20, SegmentBytes: 2 << 20})
	for name, record := range map[string][2]int{
		"meta":         {MaxMetaBytes + 1, 0},
		"body":         {0, MaxBodyBytes + 1},
		"for segments": {0, 2 << 20},
		"for capacity": {0, 1 << 20},
	} {
		if _, err := s.Append(make([]byte, record[0]), make([]byte, record[1])); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large %s: %v, want ErrTooLarge", name, err)
		}
	}
	checkBooks(t, s)
}

func TestSettingsAreValidated(t *testing.T) {
	for _, settings := range []Settings{
		{CapacityBytes: 1 << 20},
		{Dir: "x"},
		{Dir: "x", CapacityBytes: -1},
		{Dir: "x", CapacityBytes: 1, SegmentBytes: 100},
		{Dir: "x", CapacityBytes: 1, SegmentBytes: 1 << 50},
	} {
		if _, err := Open(settings); err == nil {
			t.Errorf("%+v are accepted", settings)
		}
	}
}

func TestCapacityIsKeptAndDropMakesRoom(t *testing.T) {
	s := open(t, Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20, SegmentBytes: 1 << 20})
	var live []Ref
	for i := uint64(0); ; i++ {
		r, err := s.Append(metaOf(i, 60_000), bodyOf(i, 60_000))
		if errors.Is(err, ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		live = append(live, r)
	}
	if len(live) != 17 || s.Used() != 17*align(60_000+256, pageBytes) {
		t.Errorf("%d records were taken, using %d", len(live), s.Used())
	}
	if got := count(s.metrics.refused.WithLabelValues("capacity")); got != 1 {
		t.Errorf("%d records counted as refused, want 1", got)
	}
	for i := uint64(17); i < 500; i++ {
		s.Drop(live[0])
		live = append(live[1:], mustAppend(t, s, i, 60_000))
	}
	for i, r := range live {
		if err := whole(s, r, uint64(500-17+i), 60_000); err != nil {
			t.Error(err)
		}
	}
	reclaimAll(s)
	checkBooks(t, s, live...)
}

func TestARecordThatIsPinnedIsGivenBackOnlyWhenReleased(t *testing.T) {
	s := open(t, Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20})
	r := mustAppend(t, s, 1, 300_000)
	one, err := s.Acquire(r)
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Acquire(r)
	if err != nil {
		t.Fatal(err)
	}
	s.Drop(r)
	s.Drop(r)
	reclaimAll(s)
	if _, err := s.Acquire(r); !errors.Is(err, ErrGone) {
		t.Errorf("a dropped record is acquired: %v, want ErrGone", err)
	}
	one.Release()
	reclaimAll(s)
	if !bytes.Equal(two.Bytes(), bodyOf(1, 300_000)) {
		t.Error("the bytes of a pinned record have changed")
	}
	if s.Used() == 0 {
		t.Error("the room of a pinned record is counted as free")
	}
	two.Release()
	reclaimAll(s)
	checkBooks(t, s)
	got := make([]byte, 300_000)
	if _, err := r.region.seg.file.ReadAt(got, r.region.bodyAt); err != nil || !zeros(got) {
		t.Errorf("no hole is where the record was (%v)", err)
	}
	for name, release := range map[string]func(){"dropped": two.Release, "not dropped": mustAppendRegion(t, s).Release} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("releasing a region that is %s and not acquired goes unnoticed", name)
				}
			}()
			release()
		}()
	}
}

func mustAppendRegion(t *testing.T, s *Store) *Region {
	return mustAppend(t, s, 9, 9).region
}

func TestRefsOfOthersAreGone(t *testing.T) {
	s := open(t, Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20})
	other := open(t, Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20})
	r := mustAppend(t, other, 1, 10)
	for name, r := range map[string]Ref{"zero": {}, "other": r, "made up": {Segment: 1, Offset: pageBytes}} {
		s.Drop(r)
		if _, err := s.Acquire(r); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, want ErrGone", name, err)
		}
	}
	if err := whole(other, r, 1, 10); err != nil {
		t.Error(err)
	}
}

func TestSegmentsInWhichNothingLivesAreUnlinked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Settings{Dir: dir, CapacityBytes: 64 << 20, SegmentBytes: 1 << 20})
	var refs []Ref
	for i := range uint64(40) {
		refs = append(refs, mustAppend(t, s, i, 200_000))
	}
	if got := len(files(t, dir)); got != 8 {
		t.Fatalf("%d files, want 8", got)
	}
	for _, r := range refs[:38] {
		s.Drop(r)
	}
	reclaimAll(s)
	if got := len(files(t, dir)); got != 1 {
		t.Errorf("%d files, want 1", got)
	}
	checkBooks(t, s, refs[38:]...)
	s.Drop(refs[38])
	s.Drop(refs[39])
	reclaimAll(s)
	checkBooks(t, s)
	mustClose(t, s)
	s = open(t, Settings{Dir: dir, CapacityBytes: 64 << 20, SegmentBytes: 1 << 20})
	reclaimAll(s)
	if got := len(files(t, dir)); got != 0 {
		t.Errorf("%d files after everything was dropped, want none", got)
	}
}

// A few records that live long must not keep one file each.
func TestHolesAreWrittenToAgain(t *testing.T) {
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 4 << 20, SegmentBytes: 1 << 20}
	s := open(t, settings)
	random := rand.New(rand.NewPCG(3, 4))
	live := make(map[uint64]Ref)
	sizes := make(map[uint64]int)
	var short []uint64
	most := 0
	for i := range uint64(3000) {
		n := random.IntN(100_000)
		for {
			r, err := s.Append(metaOf(i, n), bodyOf(i, n))
			if err == nil {
				live[i], sizes[i] = r, n
				break
			}
			if !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
			s.Drop(live[short[0]])
			delete(live, short[0])
			short = short[1:]
		}
		if i%60 != 0 { // the others live on
			short = append(short, i)
		}
		most = max(most, len(files(t, settings.Dir)))
	}
	reclaimAll(s)
	if most > s.maxFiles+2 {
		t.Errorf("there were %d files, want about %d", most, s.maxFiles)
	}
	for i, r := range live {
		if err := whole(s, r, i, sizes[i]); err != nil {
			t.Error(i, err)
		}
	}
	checkBooks(t, s, slices.Collect(maps.Values(live))...)
	mustClose(t, s)
	s = open(t, settings)
	var last uint64
	n := 0
	for r, meta := range s.Recovered {
		seed, size := readMeta(meta)
		if seed < last {
			t.Errorf("record %d is found after %d", seed, last)
		}
		last = seed
		if live[seed] == (Ref{}) {
			t.Errorf("record %d is found, but it was dropped", seed)
		}
		if err := whole(s, r, seed, size); err != nil {
			t.Error(seed, err)
		}
		n++
	}
	if n != len(live) {
		t.Errorf("%d records are found, want %d", n, len(live))
	}
}

func TestTheFolderIsLocked(t *testing.T) {
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20}
	s := open(t, settings)
	if _, err := Open(settings); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second store: %v, want ErrLocked", err)
	}
	r := mustAppend(t, s, 1, 100_000)
	g, err := s.Acquire(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err == nil {
		t.Error("Close is silent about a region that is not released")
	}
	if _, err := Open(settings); !errors.Is(err, ErrLocked) {
		t.Fatalf("while a region is read: %v, want ErrLocked", err)
	}
	if !bytes.Equal(g.Bytes(), bodyOf(1, 100_000)) {
		t.Error("closing has taken the bytes away")
	}
	if _, err := s.Acquire(r); !errors.Is(err, ErrClosed) {
		t.Errorf("acquire: %v, want ErrClosed", err)
	}
	if _, err := s.Append(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append: %v, want ErrClosed", err)
	}
	s.Drop(r)
	g.Release()
	s = open(t, settings)
	if got := found(t, s); len(got) != 1 || whole(s, got[1], 1, 100_000) != nil {
		t.Errorf("%d records are found, want 1", len(got))
	}
}

func TestAnUnknownVersionIsLeftAlone(t *testing.T) {
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20}
	s := open(t, settings)
	mustAppend(t, s, 1, 1000)
	mustClose(t, s)
	name := files(t, settings.Dir)[0]
	b := fileHead{number: 1, size: DefaultSegmentBytes, salt: 1}.encode()
	b[8] = 2
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	// One that is corrupt as well must not be removed either.
	if err := os.WriteFile(fileName(settings.Dir, 7), []byte("WEIRSEGM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(settings); !errors.Is(err, ErrVersion) {
		t.Fatalf("%v, want ErrVersion", err)
	}
	if got := len(files(t, settings.Dir)); got != 2 {
		t.Errorf("%d files are left, want 2", got)
	}
	if _, err := Open(settings); !errors.Is(err, ErrVersion) { // and not ErrLocked
		t.Fatalf("%v, want ErrVersion", err)
	}
}

func TestFilesOfOtherSizesAndNamesAreRespected(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Settings{Dir: dir, CapacityBytes: 64 << 20, SegmentBytes: 1 << 20})
	mustAppend(t, s, 1, 500_000)
	mustClose(t, s)
	for _, name := range []string{"1.weirseg", "0000000G.weirseg", "00000002.weirseg.bak", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("keep"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, Settings{Dir: dir, CapacityBytes: 64 << 20, SegmentBytes: 4 << 20})
	r := mustAppend(t, s, 2, 3_000_000)
	if err := whole(s, r, 2, 3_000_000); err != nil {
		t.Error(err)
	}
	if got := found(t, s); len(got) != 1 || whole(s, got[1], 1, 500_000) != nil {
		t.Errorf("%d records are found, want 1", len(got))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2+4+1 {
		t.Errorf("the folder has %v", entries)
	}
}

// Where holes cannot be punched nor files mapped.
func TestWithoutWhatOnlyLinuxHas(t *testing.T) {
	fs := newFaultFS()
	fs.set(failing(errors.ErrUnsupported, "punch", "map"))
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 2 << 20, SegmentBytes: 4 << 20, FS: fs}
	s := open(t, settings)
	var live []Ref
	first := uint64(0)
	for i := range uint64(400) {
		for {
			r, err := s.Append(metaOf(i, 80_000), bodyOf(i, 80_000))
			if err == nil {
				live = append(live, r)
				break
			}
			if !errors.Is(err, ErrNoSpace) || len(live) == 0 {
				t.Fatalf("%v with %d records", err, len(live))
			}
			s.Drop(live[0])
			live, first = live[1:], first+1
			reclaimAll(s)
		}
		if s.Used() > settings.CapacityBytes {
			t.Fatalf("%d bytes used", s.Used())
		}
	}
	for i, r := range live {
		if err := whole(s, r, first+uint64(i), 80_000); err != nil {
			t.Error(err)
		}
		if r.region.fallback.Load().body != nil {
			t.Error("a body that nobody reads is kept in memory")
		}
	}
	mustClose(t, s)
	s = open(t, settings)
	if got := found(t, s); len(got) != len(live) {
		t.Errorf("%d records are found, want %d", len(got), len(live))
	}
}

func TestAppendAcquireAndDropAtOnce(t *testing.T) {
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 8 << 20, SegmentBytes: 1 << 20}
	s := open(t, settings)
	stop := background(s)
	type record struct {
		ref  Ref
		seed uint64
		n    int
	}
	var (
		mu       sync.Mutex
		live     []record
		seeds    atomic.Uint64
		appended atomic.Int64
		wg       sync.WaitGroup
	)
	// take returns a record; with drop, it is nobody else's from then on.
	take := func(random *rand.Rand, drop bool) (record, bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(live) == 0 {
			return record{}, false
		}
		i := random.IntN(len(live))
		r := live[i]
		if drop {
			live[i] = live[len(live)-1]
			live = live[:len(live)-1]
		}
		return r, true
	}
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(5, uint64(worker)))
			for range 400 {
				switch random.IntN(4) {
				case 0:
					seed, n := seeds.Add(1), random.IntN(150_000)
					for {
						r, err := s.Append(metaOf(seed, n), pieces(random, bodyOf(seed, n))...)
						if err == nil {
							appended.Add(1)
							mu.Lock()
							live = append(live, record{r, seed, n})
							mu.Unlock()
							break
						}
						if !errors.Is(err, ErrNoSpace) {
							t.Error(err)
							return
						}
						if r, ok := take(random, true); ok {
							s.Drop(r.ref)
						}
					}
				case 1:
					if r, ok := take(random, false); ok && random.IntN(3) == 0 {
						g, err := s.Acquire(r.ref)
						if errors.Is(err, ErrGone) {
							continue
						}
						s.Drop(r.ref) // while it is pinned
						if !bytes.Equal(g.Bytes(), bodyOf(r.seed, r.n)) {
							t.Error(errWrong)
						}
						g.Release()
					}
				default:
					if r, ok := take(random, false); ok {
						if err := whole(s, r.ref, r.seed, r.n); err != nil && !errors.Is(err, ErrGone) {
							t.Error(err)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	stop()
	reclaimAll(s)
	if got := count(s.metrics.appended); got != int(appended.Load()) || got == 0 {
		t.Errorf("%d records counted, want %d", got, appended.Load())
	}
	if s.reclaiming != 0 || s.Used() > settings.CapacityBytes {
		t.Errorf("reclaiming %d, used %d", s.reclaiming, s.Used())
	}
	mustClose(t, s)
	s = open(t, settings)
	for seed, r := range found(t, s) {
		if err := whole(s, r, seed, int(r.BodyBytes)); err != nil {
			t.Error(err)
		}
	}
}

// Regions that are verified by many at once, blocks in any order.
func TestVerifyAtOnce(t *testing.T) {
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 8 << 20}
	s := open(t, settings)
	mustAppend(t, s, 1, 3_000_000)
	mustClose(t, s)
	s = open(t, settings)
	r := found(t, s)[1]
	want := bodyOf(1, 3_000_000)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(6, uint64(worker)))
			for range 50 {
				offset := random.Int64N(3_000_000)
				n := random.Int64N(3_000_000 - offset)
				g, err := s.AcquireRange(r, offset, n)
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(g.Bytes()[offset:offset+n], want[offset:offset+n]) {
					t.Error(errWrong)
				}
				g.Release()
			}
		})
	}
	wg.Wait()
	if err := whole(s, r, 1, 3_000_000); err != nil {
		t.Error(err)
	}
	if r.region.checks.Load() != nil {
		t.Error("the record is verified, but that is not remembered")
	}
}

func TestAcquireAllocatesNothing(t *testing.T) {
	s := open(t, Settings{Dir: t.TempDir(), CapacityBytes: 8 << 20})
	r := mustAppend(t, s, 1, 300_000)
	if n := testing.AllocsPerRun(100, func() {
		g, err := s.Acquire(r)
		if err != nil || len(g.Bytes()) != 300_000 {
			t.Fatal(err)
		}
		g.Release()
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestMetricsAreRegistered(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s := open(t, Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20, Registerer: registry})
	mustAppend(t, s, 1, 300_000)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	want := map[string]float64{
		"weir_cdn_segment_used_bytes": 303_104 + 4096, "weir_cdn_segment_capacity_bytes": 1 << 20, "weir_cdn_segment_files": 1,
		"weir_cdn_segment_reclaiming_bytes": 0, "weir_cdn_segment_appended_records_total": 1, "weir_cdn_segment_appended_bytes_total": 303_104 + 4096,
		"weir_cdn_segment_recovered_records_total": 0,
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m := f.GetMetric()[0]
		got := m.GetGauge().GetValue() + m.GetCounter().GetValue()
		if w, ok := want[f.GetName()]; ok && got != w {
			t.Errorf("%s is %v, want %v", f.GetName(), got, w)
		}
		delete(want, f.GetName())
	}
	if len(want) > 0 {
		t.Errorf("there are no %v", want)
	}
	if _, err := Open(Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20, Registerer: registry}); err == nil {
		t.Error("metrics that are registered twice go unnoticed")
	}
}

func TestRuns(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		const pages = 64
		var free [pages]bool
		var f runs
		for range 300 {
			n := 1 + random.IntN(6)
			if random.IntN(2) == 0 {
				from := random.IntN(pages)
				i := f.fits(int64(from), int64(n))
				if i < 0 {
					continue
				}
				if f[i].end() <= int64(from) {
					t.Fatalf("%v is before %d", f[i], from)
				}
				at := f.take(i, int64(n))
				for p := at; p < at+int64(n); p++ {
					if !free[p] {
						t.Fatalf("page %d is taken twice", p)
					}
					free[p] = false
				}
			} else {
				at := random.IntN(pages)
				end := at
				for end < min(pages, at+n) && !free[end] {
					free[end] = true
					end++
				}
				if end > at {
					f.add(run{int64(at), int64(end - at)})
				}
			}
			var want runs
			for p := range int64(pages) {
				switch {
				case !free[p]:
				case len(want) > 0 && want[len(want)-1].end() == p:
					want[len(want)-1].n++
				default:
					want = append(want, run{p, 1})
				}
			}
			if !slices.Equal(f, want) {
				t.Fatalf("runs %v, want %v", f, want)
			}
		}
	}
}
