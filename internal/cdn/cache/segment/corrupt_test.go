package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
)

// Every bit counts: 1,000 flips in each kind of place, and none of them is served.
func TestABitFlips(t *testing.T) {
	const records = 1000
	for _, place := range []struct {
		name string
		in   func(g *Region, random *rand.Rand) int64 // an offset in the file
		harm bool
	}{
		{"head", func(g *Region, random *rand.Rand) int64 { return g.offset + random.Int64N(headBytes) }, true},
		{"block checksums", func(g *Region, random *rand.Rand) int64 {
			return g.offset + headBytes + random.Int64N(layoutOf(g.meta, g.body).metaAt-headBytes)
		}, true},
		{"meta", func(g *Region, random *rand.Rand) int64 {
			return g.offset + layoutOf(g.meta, g.body).metaAt + random.Int64N(int64(g.meta))
		}, true},
		{"body", func(g *Region, random *rand.Rand) int64 { return g.bodyAt + random.Int64N(g.body) }, true},
		{"between meta and body", func(g *Region, _ *rand.Rand) int64 { return g.bodyAt - 1 }, false},
		{"after the body", func(g *Region, _ *rand.Rand) int64 { return g.offset + g.size - 1 }, false},
	} {
		t.Run(place.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			settings := Settings{Dir: t.TempDir(), CapacityBytes: 256 << 20}
			s := open(t, settings)
			refs := make([]Ref, records)
			for i := range refs {
				n := 1 + random.IntN(5000)
				if i%5 == 0 {
					n = 1 + random.IntN(3*BlockBytes)
				}
				if (n+layoutOf(16, int64(n)).blocks*4+headBytes+16)%64 == 0 || n%pageBytes == 0 {
					n++ // there is something between and after
				}
				refs[i] = mustAppend(t, s, uint64(i), n)
			}
			mustClose(t, s)
			for _, r := range refs {
				flip(t, files(t, settings.Dir)[0], place.in(r.region, random), random.IntN(8))
			}
			s = open(t, settings)
			recovered := found(t, s)
			for seed, r := range recovered {
				switch err := whole(s, r, seed, int(r.BodyBytes)); {
				case place.harm && !errors.Is(err, ErrCorrupt):
					t.Errorf("record %d: %v, want ErrCorrupt", seed, err)
				case !place.harm && err != nil:
					t.Errorf("record %d: %v", seed, err)
				}
			}
			switch got := quarantined(s, "body"); {
			case !place.harm && len(recovered) != records:
				t.Errorf("%d records are found, want %d", len(recovered), records)
			case place.name == "body" && (got != records || len(recovered) != records):
				t.Errorf("%d records are found, %d quarantined, want %d", len(recovered), got, records)
			case place.harm && place.name != "body" && (len(recovered) != 0 || quarantined(s, "torn") == 0):
				t.Errorf("%d records are found, want none", len(recovered))
			}
			if place.harm {
				reclaimAll(s)
				checkBooks(t, s)
			}
		})
	}
}

func TestABitOfTheHeadOfAFileFlips(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 1 << 20, SegmentBytes: minSegmentBytes}
	s := open(t, settings)
	mustAppend(t, s, 1, 1000)
	mustClose(t, s)
	name := files(t, settings.Dir)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		flip(t, name, random.Int64N(headBytes), random.IntN(8))
		s := open(t, settings)
		if len(found(t, s)) != 0 || quarantined(s, "head") != 1 || len(files(t, settings.Dir)) != 0 {
			t.Fatal("a head that is corrupt goes unnoticed")
		}
		mustClose(t, s)
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, settings)
	if len(found(t, s)) != 1 {
		t.Error("the file is not what it was")
	}
}

// A power cut: of what was not synced, the disk has some pages and not others, in no order.
func TestThePowerIsCut(t *testing.T) {
	served, missing, corrupt := 0, 0, 0
	for round := range uint64(150) {
		random := rand.New(rand.NewPCG(round, 5))
		settings := Settings{Dir: memoryDir(t), CapacityBytes: 8 << 20, SegmentBytes: 1 << 20}
		s := open(t, settings)
		live := make(map[uint64]Ref)
		for seed := uint64(1); seed <= 60; seed++ {
			n := random.IntN(8000)
			if seed%3 == 0 {
				n = random.IntN(300_000)
			}
			r, err := s.Append(metaOf(seed, n), bodyOf(seed, n))
			if errors.Is(err, ErrNoSpace) {
				for old, r := range live {
					s.Drop(r)
					delete(live, old)
					break
				}
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			live[seed] = r
		}
		mustClose(t, s)
		lose := []float64{0.001, 0.01, 0.1, 0.5, 0.9}[round%5]
		for _, name := range files(t, settings.Dir) {
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			for at := int64(0); at < settings.SegmentBytes; at += pageBytes {
				if random.Float64() < lose {
					f.WriteAt(make([]byte, pageBytes), at)
				}
			}
			if random.IntN(10) == 0 {
				f.Truncate(random.Int64N(settings.SegmentBytes))
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, settings)
		recovered := found(t, s)
		missing += len(live) - len(recovered)
		var left []Ref
		for seed, r := range recovered {
			switch err := whole(s, r, seed, int(r.BodyBytes)); {
			case err == nil:
				served++
				left = append(left, r)
			case errors.Is(err, ErrCorrupt):
				corrupt++
			default:
				t.Fatal(err)
			}
		}
		reclaimAll(s)
		checkBooks(t, s, left...)
		mustAppend(t, s, 1000, 100_000)
		mustClose(t, s)
	}
	t.Logf("%d records served, %d missing, %d corrupt", served, missing, corrupt)
	if served < 1000 || missing < 1000 || corrupt < 100 {
		t.Error("the test has not seen enough of each")
	}
}

// An origin that knows the format sends a body that has a record in it. The record around it is torn.
func TestAPlantedRecordIsNotFound(t *testing.T) {
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 8 << 20, SegmentBytes: 1 << 20}
	s := open(t, settings)
	body := make([]byte, 200_000)
	planted := layoutOf(16, 1000)
	for at := int64(0); at+planted.size < int64(len(body)); at += planted.size {
		b := body[at:]
		copy(b[planted.metaAt:], metaOf(666, 1000))
		blockChecksums(b[headBytes:planted.metaAt], [][]byte{b[planted.bodyAt : planted.bodyAt+1000]})
		recordHead{
			sequence: 1, offset: 2*pageBytes + at, body: 1000, meta: 16, tail: checksum(b[headBytes : planted.metaAt+16]),
		}.encode(b, fileHead{number: 1})
	}
	r, err := s.Append(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	if r.region.bodyAt != 2*pageBytes {
		t.Fatalf("the body is at %d; the test plants for %d", r.region.bodyAt, 2*pageBytes)
	}
	mustClose(t, s)
	flip(t, files(t, settings.Dir)[0], r.Offset+20, 1)
	s = open(t, settings)
	if got := found(t, s); len(got) != 0 {
		t.Errorf("%d planted records are found", len(got))
	}
	if got := quarantined(s, "torn"); got != 1 {
		t.Errorf("%d torn pieces counted, want 1", got)
	}
}

// FuzzScan changes bytes of files that are whole, and gives them to the recovery: it ends, its books are
// right, and what it serves agrees with its checksums.
func FuzzScan(f *testing.F) {
	head := fileHead{number: 1, size: 128 << 10, salt: 42}
	var templates [][]byte
	for _, sizes := range [][]int{{}, {100}, {0, 10, 5000, 65_536, 3}, {3968, 3968, 3968}, {100_000, 100}} {
		file := &memoryFile{bytes: make([]byte, head.size)}
		s := fuzzStore(file, head)
		s.active = s.segments[1]
		s.active.giveBack(run{pageBytes, head.size - pageBytes})
		for i, n := range sizes {
			mustAppend(f, s, uint64(i), n)
		}
		templates = append(templates, file.bytes)
		f.Add(uint8(len(templates)), false, []byte{})
		f.Add(uint8(len(templates)), true, []byte{1, 0, 32, 77})
		f.Add(uint8(len(templates)), false, []byte{2, 0, 0, 1, 3, 15, 255, 9})
	}
	// Each edit is four bytes: the page, where in it, and what is to be there. With sign, a head that is
	// not what it was gets a checksum that is right, so that what its lengths say is believed.
	f.Fuzz(func(t *testing.T, template uint8, sign bool, edits []byte) {
		file := &memoryFile{bytes: bytes.Clone(templates[int(template)%len(templates)])}
		for ; len(edits) >= 4; edits = edits[4:] {
			at := int64(edits[0])*pageBytes + int64(edits[1])<<8 + int64(edits[2])
			file.bytes[pageBytes+at%(head.size-pageBytes)] = edits[3]
		}
		for at := int64(pageBytes); sign && at < head.size; at += pageBytes {
			b := file.bytes[at:]
			if string(b[:4]) != recordMagic {
				continue
			}
			h := recordHead{
				sequence: uint64(b[16]), offset: at,
				body: int64(binary.LittleEndian.Uint32(b[32:])), meta: int(binary.LittleEndian.Uint32(b[40:])),
			}
			if end := layoutOf(h.meta, h.body).metaAt + int64(h.meta); at+end <= head.size {
				h.tail = checksum(b[headBytes:end])
			}
			h.encode(b, head)
		}
		s := fuzzStore(file, head)
		g := s.segments[1]
		scan := &segmentScan{seg: g}
		scan.read()
		var taken int64
		end := int64(pageBytes)
		for _, r := range scan.records {
			if r.region.offset < end || r.region.offset+r.region.size > head.size {
				t.Fatalf("record at %d of %d bytes overlaps", r.region.offset, r.region.size)
			}
			end = r.region.offset + r.region.size
			taken += r.region.size
		}
		for _, r := range scan.torn {
			taken += r.n
		}
		if taken+g.room+pageBytes != head.size {
			t.Fatalf("%d bytes taken, %d free, of %d", taken, g.room, head.size)
		}
		g.holds = len(scan.records) + 1
		for _, r := range scan.records {
			region, err := s.Acquire(r.region.ref())
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				continue
			}
			table := make([]byte, 4*layoutOf(region.meta, region.body).blocks)
			blockChecksums(table, [][]byte{region.Bytes()})
			if string(table) != string(file.bytes[region.offset+headBytes:][:len(table)]) {
				t.Fatal("what is served does not agree with its checksums")
			}
			region.Release()
			s.Drop(r.region.ref())
		}
		for s.reclaim() {
		}
		again := &segmentScan{seg: s.newSegment(file, head)}
		again.read()
		if len(again.records) != 0 {
			t.Fatalf("%d records are left of what was dropped", len(again.records))
		}
	})
}

func fuzzStore(file *memoryFile, head fileHead) *Store {
	s := newStore(Settings{Dir: "nowhere", CapacityBytes: 1 << 20, SegmentBytes: head.size})
	s.segments[head.number] = s.newSegment(file, head)
	s.open = 1
	return s
}

func FuzzFileHead(f *testing.F) {
	f.Add(fileHead{number: 1, size: DefaultSegmentBytes, salt: 3}.encode())
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseFileHead(b, 1)
		if err != nil {
			return
		}
		if string(h.encode()) != string(b[:headBytes]) && zeros(b[32:60]) {
			t.Errorf("%+v is not what was read", h)
		}
	})
}
