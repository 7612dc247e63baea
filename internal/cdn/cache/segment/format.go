package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A segment file is a head of one page, and records, each beginning on a page. What is between them is
// holes, or zeros, or what is left of records that were never finished. All numbers are little-endian,
// all checksums CRC32C.
//
//	head of a file               head of a record
//	 0  8  magic                  0  4  magic and version
//	 8  4  version                4  4  number of the segment
//	12  4  number                 8  8  salt of the segment
//	16  8  size of the file      16  8  sequence
//	24  8  salt                  24  8  offset of this head in the file
//	32 28  zeros                 32  8  bytes of body
//	60  4  checksum of 0-59      40  4  bytes of meta
//	                             44 12  zeros
//	                             56  4  checksum of the block checksums and the meta
//	                             60  4  checksum of 0-59
//
// The head of a record is followed by one checksum per 64 KiB of body, by the meta, and by the body,
// which begins on a page of its own if it has 64 KiB or more. The salt is random: a body that looks like
// a record, made by an origin that wants to plant one, cannot be taken for one of this file.
const (
	pageBytes = 4 << 10
	// BlockBytes is how much of a body one checksum covers.
	BlockBytes = 64 << 10
	// MaxBodyBytes is the longest body of a record; larger objects are kept in slices.
	MaxBodyBytes = 64 << 20
	// MaxMetaBytes is the longest meta of a record.
	MaxMetaBytes = 1 << 20

	headBytes       = 64
	version         = 1
	fileMagic       = "WEIRSEGM"
	recordMagic     = "WRR\x01"
	minSegmentBytes = 64 << 10
	maxSegmentBytes = 64 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// fileHead is the head of a segment file.
type fileHead struct {
	number uint32
	size   int64
	salt   uint64
}

func (h fileHead) encode() []byte {
	b := make([]byte, headBytes)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], h.number)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.size))
	binary.LittleEndian.PutUint64(b[24:], h.salt)
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	return b
}

// parseFileHead reads the head of the segment file with this number. In every version, magic, version
// and checksum are where they are in the first.
func parseFileHead(b []byte, number uint32) (fileHead, error) {
	if len(b) < headBytes {
		return fileHead{}, fmt.Errorf("%w: file has %d bytes, its head alone %d", ErrCorrupt, len(b), headBytes)
	}
	if magic := b[:8]; string(magic) != fileMagic {
		return fileHead{}, fmt.Errorf("%w: file begins with %q, want %q", ErrCorrupt, magic, fileMagic)
	}
	if got, want := checksum(b[:60]), binary.LittleEndian.Uint32(b[60:]); got != want {
		return fileHead{}, fmt.Errorf("%w: head of file has checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return fileHead{}, fmt.Errorf("%w %d, want %d", ErrVersion, v, version)
	}
	h := fileHead{
		number: binary.LittleEndian.Uint32(b[12:]),
		size:   int64(binary.LittleEndian.Uint64(b[16:])),
		salt:   binary.LittleEndian.Uint64(b[24:]),
	}
	switch {
	case h.number != number:
		return fileHead{}, fmt.Errorf("%w: file is segment %d, its name says %d", ErrCorrupt, h.number, number)
	case h.size < minSegmentBytes || h.size > maxSegmentBytes || h.size%pageBytes != 0:
		return fileHead{}, fmt.Errorf("%w: segment of %d bytes, want whole pages from %d to %d bytes", ErrCorrupt, h.size, minSegmentBytes, maxSegmentBytes)
	}
	return h, nil
}

// layout says where the parts of a record are, relative to its head.
type layout struct {
	meta int   // bytes
	body int64 // bytes

	blocks int
	metaAt int64
	bodyAt int64
	size   int64 // whole pages
}

func layoutOf(meta int, body int64) layout {
	l := layout{meta: meta, body: body, blocks: int((body + BlockBytes - 1) / BlockBytes)}
	l.metaAt = headBytes + 4*int64(l.blocks)
	l.bodyAt = l.metaAt + int64(meta)
	if body >= BlockBytes {
		l.bodyAt = align(l.bodyAt, pageBytes)
	} else {
		l.bodyAt = align(l.bodyAt, 64) // a cache line
	}
	l.size = align(l.bodyAt+body, pageBytes)
	return l
}

func align(n, to int64) int64 { return (n + to - 1) / to * to }

// recordHead is the head of a record.
type recordHead struct {
	sequence uint64
	offset   int64
	body     int64
	meta     int
	tail     uint32 // checksum of the block checksums and the meta
}

func (h recordHead) encode(b []byte, file fileHead) {
	clear(b[:headBytes])
	copy(b, recordMagic)
	binary.LittleEndian.PutUint32(b[4:], file.number)
	binary.LittleEndian.PutUint64(b[8:], file.salt)
	binary.LittleEndian.PutUint64(b[16:], h.sequence)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.offset))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.body))
	binary.LittleEndian.PutUint32(b[40:], uint32(h.meta))
	binary.LittleEndian.PutUint32(b[56:], h.tail)
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
}

// parseRecordHead reads the head of a record of this segment at this offset. It reports false for
// whatever else is there, and for one whose lengths do not fit into the segment.
func parseRecordHead(b []byte, file fileHead, offset int64) (recordHead, bool) {
	if len(b) < headBytes || string(b[:4]) != recordMagic || checksum(b[:60]) != binary.LittleEndian.Uint32(b[60:]) {
		return recordHead{}, false
	}
	h := recordHead{
		sequence: binary.LittleEndian.Uint64(b[16:]),
		offset:   int64(binary.LittleEndian.Uint64(b[24:])),
		tail:     binary.LittleEndian.Uint32(b[56:]),
	}
	number, salt := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:])
	body, meta := binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint32(b[40:])
	if number != file.number || salt != file.salt || h.offset != offset || body > MaxBodyBytes || meta > MaxMetaBytes {
		return recordHead{}, false
	}
	h.body, h.meta = int64(body), int(meta)
	if offset+layoutOf(h.meta, h.body).size > file.size {
		return recordHead{}, false
	}
	return h, true
}

// blockChecksums writes the checksum of each block of the body into table.
func blockChecksums(table []byte, body [][]byte) {
	var sum uint32
	room := BlockBytes
	for _, piece := range body {
		for len(piece) > 0 {
			n := min(room, len(piece))
			sum = crc32.Update(sum, castagnoli, piece[:n])
			piece = piece[n:]
			if room -= n; room == 0 {
				binary.LittleEndian.PutUint32(table, sum)
				table, sum, room = table[4:], 0, BlockBytes
			}
		}
	}
	if room < BlockBytes {
		binary.LittleEndian.PutUint32(table, sum)
	}
}

func zeros(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }
