package segment

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"
)

const (
	// maxScans is how many segments are read at once when the store is opened: disks like to be asked
	// many things at once.
	maxScans = 16
	// maxUnreadable is how many pages of a segment may be unreadable before the rest is given up: a
	// disk that is broken takes its time for each.
	maxUnreadable = 16

	nearBytes = 64 << 10 // read at once where records are small, or bytes torn
)

// Recovered calls yield with each record that was found when the store was opened and that is not
// dropped, in the order in which they were written, until it returns false. The caller drops those it
// does not want; meta is its own. Only the first call finds anything.
func (s *Store) Recovered(yield func(r Ref, meta []byte) bool) {
	s.mu.Lock()
	all := s.recovered
	s.recovered = nil
	s.mu.Unlock()
	for _, g := range all {
		r := g.ref()
		if _, err := s.pinned(r); err != nil {
			continue
		}
		meta, err := g.Meta()
		g.Release()
		if err == nil && !yield(r, meta) {
			return
		}
	}
}

// recover finds what is in the folder.
func (s *Store) recover() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	var broken []string
	for _, name := range names {
		number, ok := numberOf(name)
		if !ok {
			continue
		}
		g, err := s.reopen(number)
		switch {
		case errors.Is(err, ErrCorrupt):
			broken = append(broken, fileName(s.dir, number))
		case err != nil:
			return err
		default:
			s.segments[number] = g
			s.open++
		}
		s.number = number + 1
	}
	// From here on it is certain that all files are of this version, so they may be changed.
	for _, name := range broken {
		s.metrics.quarantined.WithLabelValues("head").Inc()
		s.log.Warn("a segment of the cache is corrupt; it is removed", "file", name)
		if err := s.fs.Remove(name); err != nil {
			return err
		}
	}
	scans := s.scanAll()

	var found []foundRecord
	for _, scan := range scans {
		for _, r := range scan.records {
			s.used += r.region.size
		}
		found = append(found, scan.records...)
		for _, r := range scan.torn {
			s.metrics.quarantined.WithLabelValues("torn").Inc()
			s.enqueue(&Region{seg: scan.seg, offset: r.offset, size: r.n})
		}
		scan.seg.holds = len(scan.records)
		s.retire(scan.seg)
	}
	slices.SortStableFunc(found, func(a, b foundRecord) int { return cmp.Compare(a.sequence, b.sequence) })
	s.recovered = make([]*Region, len(found))
	for i, r := range found {
		s.recovered[i], s.sequence = r.region, r.sequence
	}
	s.metrics.recovered.Add(float64(len(found)))
	if len(found) > 0 {
		s.log.Info("found records of the cache on disk", "dir", s.dir, "records", len(found), "bytes", s.used, "segments", len(s.segments))
	}
	return nil
}

// reopen opens a file that is there. It returns ErrCorrupt if its head is not whole.
func (s *Store) reopen(number uint32) (*segment, error) {
	name := fileName(s.dir, number)
	f, err := s.fs.Open(name, false)
	if err != nil {
		return nil, err
	}
	b := make([]byte, headBytes)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	} else {
		var head fileHead
		if head, err = parseFileHead(b[:n], number); err == nil {
			return s.newSegment(f, head), nil
		}
	}
	f.Close()
	return nil, fmt.Errorf("%s: %w", name, err)
}

// foundRecord is a record whose head and meta agree with their checksums.
type foundRecord struct {
	region   *Region
	sequence uint64
}

// segmentScan is what is in a segment.
type segmentScan struct {
	seg     *segment
	records []foundRecord
	torn    []run // bytes of no record
	taken   int64 // end of the last of either
}

// scanAll reads the segments, several at once.
func (s *Store) scanAll() []*segmentScan {
	scans := make([]*segmentScan, 0, len(s.segments))
	for _, number := range slices.Sorted(maps.Keys(s.segments)) {
		scans = append(scans, &segmentScan{seg: s.segments[number]})
	}
	work := make(chan *segmentScan)
	var wg sync.WaitGroup
	for range min(len(scans), max(maxScans, runtime.GOMAXPROCS(0))) {
		wg.Go(func() {
			for scan := range work {
				scan.read()
			}
		})
	}
	for _, scan := range scans {
		work <- scan
	}
	close(work)
	wg.Wait()
	return scans
}

// read walks over the segment from record to record, and over holes as the file system knows them.
func (c *segmentScan) read() {
	g := c.seg
	size := g.head.size
	c.taken = pageBytes
	// A file that is shorter than its mapping kills who reads the end of it.
	if err := g.file.Truncate(size); err != nil {
		g.store.metrics.errors.WithLabelValues("write").Inc()
		g.lost.Store(true)
		c.tear(pageBytes, size)
		return
	}
	w := window{file: g.file, size: size}
	bad := 0
	for at, near := int64(pageBytes), false; at < size; {
		page, err := w.read(at, pageBytes, near)
		if err != nil {
			g.store.metrics.errors.WithLabelValues("read").Inc()
			if bad++; bad == maxUnreadable {
				c.tear(at, size)
				break
			}
			c.tear(at, at+pageBytes)
			at += pageBytes
			continue
		}
		if zeros(page) {
			next, err := g.file.NextData(at)
			if errors.Is(err, io.EOF) {
				break
			}
			if next = next / pageBytes * pageBytes; err != nil || next <= at {
				next = at + pageBytes // zeros that are not a hole
			}
			at, near = next, true
			continue
		}
		r, ok := c.record(&w, page, at)
		if !ok {
			c.tear(at, at+pageBytes)
			at, near = at+pageBytes, true
			continue
		}
		c.records = append(c.records, r)
		c.take(at, at+r.region.size)
		at += r.region.size
		near = r.region.size <= nearBytes/2
	}
	c.take(size, size)
}

// record reads the record whose head is on page.
func (c *segmentScan) record(w *window, page []byte, at int64) (foundRecord, bool) {
	h, ok := parseRecordHead(page, c.seg.head, at)
	if !ok {
		return foundRecord{}, false
	}
	l := layoutOf(h.meta, h.body)
	whole := l.metaAt + int64(l.meta)
	if whole > pageBytes {
		var err error
		if page, err = w.read(at, int(whole), false); err != nil {
			return foundRecord{}, false
		}
	}
	if checksum(page[headBytes:whole]) != h.tail {
		return foundRecord{}, false
	}
	r := newRegion(c.seg, at, l)
	if l.blocks > 0 {
		r.checks.Store(new(checks))
	}
	return foundRecord{region: r, sequence: h.sequence}, true
}

// tear notes that the bytes from start to end are of no record.
func (c *segmentScan) tear(start, end int64) {
	if n := len(c.torn); n > 0 && c.torn[n-1].end() == start {
		c.torn[n-1].n += end - start
	} else {
		c.torn = append(c.torn, run{start, end - start})
	}
	c.take(start, end)
}

// take notes that the bytes from start to end are not free, and that those before them are.
func (c *segmentScan) take(start, end int64) {
	if start > c.taken {
		c.seg.giveBack(run{c.taken, start - c.taken})
	}
	c.taken = end
}

// window reads a file from front to back.
type window struct {
	file   File
	size   int64
	offset int64
	bytes  []byte // of the file, from offset on
	buffer []byte
}

// read returns n bytes from offset on, which are valid until the next read. If what follows will be
// wanted too, it reads ahead.
func (w *window) read(offset int64, n int, ahead bool) ([]byte, error) {
	if i := offset - w.offset; i >= 0 && i+int64(n) <= int64(len(w.bytes)) {
		return w.bytes[i : i+int64(n)], nil
	}
	want := n
	if ahead {
		want = max(n, nearBytes)
	}
	want = int(min(int64(want), w.size-offset))
	if cap(w.buffer) < want {
		w.buffer = make([]byte, max(want, nearBytes))
	}
	got, err := w.file.ReadAt(w.buffer[:want], offset)
	w.offset, w.bytes = offset, w.buffer[:got]
	if got >= n {
		return w.bytes[:n], nil
	}
	w.bytes = nil
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}
