package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("WEIR_SEGMENT_VICTIM"); dir != "" {
		victim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// A record of the tests says in its meta what its body is: a seed, and the number of bytes.

func metaOf(seed uint64, n int) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, seed), uint64(n))
}

// bodyOf returns bytes of which no page is like another, of this body or of one with another seed.
func bodyOf(seed uint64, n int) []byte {
	random := rand.NewPCG(seed, 1)
	page := make([]byte, 0, pageBytes)
	for len(page) < pageBytes {
		page = binary.LittleEndian.AppendUint64(page, random.Uint64()|1)
	}
	b := make([]byte, n)
	for at := 0; at < n; at += pageBytes {
		binary.LittleEndian.PutUint64(page, seed<<32+uint64(at))
		copy(b[at:], page)
	}
	return b
}

// pieces cuts b somewhere.
func pieces(random *rand.Rand, b []byte) [][]byte {
	var all [][]byte
	for len(b) > 0 {
		n := 1 + random.IntN(len(b))
		all, b = append(all, b[:n]), b[n:]
	}
	return all
}

func mustAppend(t testing.TB, s *Store, seed uint64, n int) Ref {
	t.Helper()
	r, err := s.Append(metaOf(seed, n), bodyOf(seed, n))
	if err != nil {
		t.Fatalf("append %d bytes: %v", n, err)
	}
	return r
}

// whole says what is wrong with the record, nil if it is what was written.
func whole(s *Store, r Ref, seed uint64, n int) error {
	g, err := s.Acquire(r)
	if err != nil {
		return err
	}
	defer g.Release()
	want := bodyOf(seed, n)
	if got := g.Bytes(); !bytes.Equal(got, want) {
		return errWrong
	}
	meta, err := g.Meta()
	if err != nil {
		return err
	}
	if !bytes.Equal(meta, metaOf(seed, n)) {
		return errWrong
	}
	return nil
}

// errWrong is what must never happen.
var errWrong = errors.New("bytes were served that were not written")

func readMeta(meta []byte) (seed uint64, n int) {
	return binary.LittleEndian.Uint64(meta), int(binary.LittleEndian.Uint64(meta[8:]))
}

// found returns the records that were found when s was opened, by seed.
func found(t testing.TB, s *Store) map[uint64]Ref {
	t.Helper()
	all := make(map[uint64]Ref)
	for r, meta := range s.Recovered {
		seed, n := readMeta(meta)
		if int64(n) != r.BodyBytes {
			t.Fatalf("record %d has %d bytes, its meta says %d", seed, r.BodyBytes, n)
		}
		if _, twice := all[seed]; twice {
			t.Fatalf("record %d was found twice", seed)
		}
		all[seed] = r
	}
	return all
}

func open(t testing.TB, settings Settings) *Store {
	t.Helper()
	s, err := Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// background runs s until the returned function is called.
func background(s *Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// memoryDir returns a folder that is in memory where there is such a thing: for tests that are not about
// the file system, and would spend their time waiting for the disk.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "segment")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func reclaimAll(s *Store) {
	for s.reclaim() {
	}
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+nameSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func quarantined(s *Store, reason string) int {
	return int(testutil.ToFloat64(s.metrics.quarantined.WithLabelValues(reason)))
}

func count(c prometheus.Collector) int { return int(testutil.ToFloat64(c)) }

// checkBooks compares what the store has counted with what is there. Nothing may be going on.
func checkBooks(t testing.TB, s *Store, live ...Ref) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var want int64
	taken := make(map[*segment]int64)
	for _, r := range live {
		want += r.region.size
		taken[r.region.seg] += r.region.size
	}
	if s.used != want || s.reclaiming != 0 || s.busy != 0 {
		t.Errorf("used %d, reclaiming %d, busy %d; want %d, 0, 0", s.used, s.reclaiming, s.busy, want)
	}
	if s.open != len(s.segments) {
		t.Errorf("%d files open, %d segments", s.open, len(s.segments))
	}
	for number, g := range s.segments {
		var room int64
		for i, r := range g.free {
			room += r.n
			if i > 0 && g.free[i-1].end() >= r.offset {
				t.Errorf("segment %d: free runs %v touch", number, g.free)
			}
		}
		if room != g.room || room+taken[g]+pageBytes != g.head.size {
			t.Errorf("segment %d: %d bytes free, %d counted, %d taken, of %d", number, room, g.room, taken[g], g.head.size)
		}
	}
}

// faultFS fails when it is told to.
type faultFS struct {
	FS
	mu    sync.Mutex
	count map[string]int
	// fault is asked before each operation, of which n have been made; it is called with mu held.
	fault func(operation string, n int) error
	// torn makes a write that fails write half of its bytes.
	torn bool
}

func newFaultFS() *faultFS { return &faultFS{FS: OS(), count: make(map[string]int)} }

func (f *faultFS) set(fault func(operation string, n int) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// failing makes each of the operations fail.
func failing(err error, operations ...string) func(string, int) error {
	return func(operation string, _ int) error {
		for _, o := range operations {
			if o == operation {
				return &os.PathError{Op: operation, Path: "test", Err: err}
			}
		}
		return nil
	}
}

func (f *faultFS) made(operation string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[operation]
}

func (f *faultFS) ask(operation string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.count[operation]
	f.count[operation]++
	if f.fault == nil {
		return nil
	}
	return f.fault(operation, n)
}

func (f *faultFS) Open(name string, create bool) (File, error) {
	operation := "open"
	if create {
		operation = "create"
	}
	if err := f.ask(operation); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fs: f}, nil
}

func (f *faultFS) Remove(name string) error {
	if err := f.ask("remove"); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

type faultFile struct {
	File
	fs *faultFS
}

func (f *faultFile) WriteAt(b []byte, offset int64) (int, error) {
	if err := f.fs.ask("write"); err != nil {
		if f.fs.torn {
			f.File.WriteAt(b[:len(b)/2], offset)
		}
		return 0, err
	}
	return f.File.WriteAt(b, offset)
}

func (f *faultFile) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.fs.ask("read"); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, offset)
}

// Sync does not wait for the disk: nobody cuts the power.
func (f *faultFile) Sync() error { return f.fs.ask("sync") }

func (f *faultFile) Truncate(size int64) error {
	if err := f.fs.ask("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Punch(offset, n int64) error {
	if err := f.fs.ask("punch"); err != nil {
		return err
	}
	return f.File.Punch(offset, n)
}

func (f *faultFile) Map(size int64) ([]byte, error) {
	if err := f.fs.ask("map"); err != nil {
		return nil, err
	}
	return f.File.Map(size)
}

// memoryFile is a file whose bytes are in memory.
type memoryFile struct {
	bytes []byte
}

func (f *memoryFile) ReadAt(b []byte, offset int64) (int, error) {
	return bytes.NewReader(f.bytes).ReadAt(b, offset)
}

func (f *memoryFile) WriteAt(b []byte, offset int64) (int, error) {
	return copy(f.bytes[offset:], b), nil
}

func (f *memoryFile) Close() error { return nil }

func (f *memoryFile) Truncate(size int64) error {
	f.bytes = append(f.bytes, make([]byte, max(0, size-int64(len(f.bytes))))...)[:size]
	return nil
}

func (f *memoryFile) Sync() error { return nil }

func (f *memoryFile) Punch(offset, n int64) error {
	clear(f.bytes[offset : offset+n])
	return nil
}

// NextData knows pages of zeros as holes.
func (f *memoryFile) NextData(offset int64) (int64, error) {
	for offset < int64(len(f.bytes)) {
		if !zeros(f.bytes[offset:min(offset/pageBytes*pageBytes+pageBytes, int64(len(f.bytes)))]) {
			return offset, nil
		}
		offset = offset/pageBytes*pageBytes + pageBytes
	}
	return 0, io.EOF
}

func (f *memoryFile) Map(int64) ([]byte, error) { return f.bytes, nil }

func (f *memoryFile) Unmap([]byte) error { return nil }

func (f *memoryFile) Fd() uintptr { return 0 }

func flip(t testing.TB, name string, offset int64, bit int) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		t.Fatal(fmt.Errorf("offset %d: %w", offset, err))
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
}
