package segment

import (
	"context"
	"fmt"
	"os"
	"testing"
)

func benchStore(b *testing.B, capacity int64) *Store {
	b.Helper()
	s, err := Open(Settings{Dir: b.TempDir(), CapacityBytes: capacity})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkAppend fills a cache, and then writes to one that is full: each record makes room for itself by
// dropping the oldest.
func BenchmarkAppend(b *testing.B) {
	b.Run("filling", func(b *testing.B) { benchAppend(b, 64<<30) })
	b.Run("full", func(b *testing.B) { benchAppend(b, 512<<20) })
}

func benchAppend(b *testing.B, capacity int64) {
	for _, bench := range []struct {
		name  string
		bytes int
	}{{"4KiB", 4 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}} {
		b.Run(bench.name, func(b *testing.B) {
			s := benchStore(b, capacity)
			body := make([]byte, bench.bytes)
			for i := range body {
				body[i] = byte(i * 7)
			}
			var pieces [][]byte
			for rest := body; len(rest) > 0; {
				n := min(len(rest), 256<<10)
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			meta := make([]byte, 500)
			var live []Ref
			b.SetBytes(int64(bench.bytes))
			b.ReportAllocs()
			for b.Loop() {
				if len(live) > 0 && s.Used() > capacity-12<<20 {
					s.Drop(live[0])
					live = live[1:]
				}
				r, err := s.Append(meta, pieces...)
				if err != nil {
					b.Fatal(err)
				}
				live = append(live, r)
			}
		})
	}
}

func BenchmarkAcquire(b *testing.B) {
	s := benchStore(b, 64<<20)
	r, err := s.Append(make([]byte, 500), make([]byte, 1<<20))
	if err != nil {
		b.Fatal(err)
	}
	acquire := func() {
		g, err := s.Acquire(r)
		if err != nil {
			b.Fatal(err)
		}
		if len(g.Bytes()) != 1<<20 {
			b.Fatal("short")
		}
		g.Release()
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			acquire()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				acquire()
			}
		})
	})
}

// BenchmarkFirstAcquire reads and verifies a record of 1 MiB that is in the page cache.
func BenchmarkFirstAcquire(b *testing.B) {
	s := benchStore(b, 64<<20)
	r, err := s.Append(make([]byte, 500), make([]byte, 1<<20))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1 << 20)
	for b.Loop() {
		r.region.checks.Store(new(checks))
		g, err := s.Acquire(r)
		if err != nil {
			b.Fatal(err)
		}
		g.Release()
	}
}

// BenchmarkOpen opens 100 GB in 100,000 records of 1 MB. Their bodies are holes: opening does not read them.
func BenchmarkOpen(b *testing.B) {
	const records, body, perSegment = 100_000, 1_000_000, 256
	dir := b.TempDir()
	l := layoutOf(500, body)
	head := make([]byte, l.metaAt+int64(l.meta))
	blockChecksums(head[headBytes:l.metaAt], [][]byte{make([]byte, body)})
	for n := range (records + perSegment - 1) / perSegment {
		file := fileHead{number: uint32(n + 1), size: DefaultSegmentBytes, salt: 1}
		f, err := os.Create(fileName(dir, file.number))
		if err == nil {
			err = f.Truncate(file.size)
		}
		if err == nil {
			_, err = f.Write(file.encode())
		}
		for i := range min(perSegment, records-n*perSegment) {
			h := recordHead{
				sequence: uint64(n*perSegment + i), offset: pageBytes + int64(i)*l.size,
				body: body, meta: 500, tail: checksum(head[headBytes:]),
			}
			h.encode(head, file)
			if err == nil {
				_, err = f.WriteAt(head, h.offset)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
	run := func(b *testing.B, before func()) {
		var opened, listed float64
		for b.Loop() {
			b.StopTimer()
			before()
			b.StartTimer()
			start := b.Elapsed()
			s, err := Open(Settings{Dir: dir, CapacityBytes: 200 << 30})
			if err != nil {
				b.Fatal(err)
			}
			opened += (b.Elapsed() - start).Seconds()
			start = b.Elapsed()
			n := 0
			for range s.Recovered {
				n++
			}
			listed += (b.Elapsed() - start).Seconds()
			if n != records {
				b.Fatalf("%d records, want %d", n, records)
			}
			s.Close()
		}
		b.ReportMetric(opened/float64(b.N), "open-s")
		b.ReportMetric(listed/float64(b.N), "list-s")
	}
	b.Run("warm", func(b *testing.B) { run(b, func() {}) })
	b.Run("cold", func(b *testing.B) {
		run(b, func() {
			if err := dropCaches(dir); err != nil {
				b.Skip(fmt.Errorf("the page cache cannot be emptied: %w", err))
			}
		})
	})
}
