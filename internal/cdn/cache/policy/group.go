package policy

import (
	"math/bits"
	"strings"

	"github.com/cespare/xxhash/v2"
)

const (
	// blockSegments is how many segments that follow one another are a group: a minute and a half of
	// what a viewer sees. Fewer know less of one another, more are not watched to their end.
	blockSegments = 16
	// leastTime is the number in a file name above which it is no count of segments but a time, as
	// $Time$ in a DASH template makes it (ISO/IEC 23009-1 §5.3.9.4.4).
	leastTime = 1 << 20
)

// GroupOf returns the group of the object at path: the same for the segments that lie side by side in one
// rendition of one title. The title and the rendition are all that stands before the last number of the
// file name, its extension aside; the number says which block of segments it is. An object whose name has
// no number is a group by itself. Whatever follows a "?" does not count.
func GroupOf(path string) uint64 {
	path, _, _ = strings.Cut(path, "?")
	name := path
	if dot := strings.LastIndexByte(name, '.'); dot > strings.LastIndexByte(name, '/') {
		name = name[:dot]
	}
	end := len(name)
	for end > 0 && name[end-1] != '/' && !digit(name[end-1]) {
		end--
	}
	start := end
	for start > 0 && digit(name[start-1]) {
		start--
	}
	if start == end {
		return notZero(xxhash.Sum64String(path))
	}
	var number uint64
	for _, c := range []byte(name[start:end]) {
		if number >= 1<<60 {
			return notZero(xxhash.Sum64String(path)) // no time and no count, but a name
		}
		number = number*10 + uint64(c-'0')
	}
	return block(name[:start], blockOf(number))
}

// GroupOfSlice returns the group of a slice of the object at path, when a large object is kept in slices
// of one size, numbered from 0.
func GroupOfSlice(path string, slice int64) uint64 {
	path, _, _ = strings.Cut(path, "?")
	return block(path, uint64(slice)/blockSegments)
}

// blockOf returns the block that a segment with this number is in. Of times the scale is not known;
// there, a block is an eighth of an octave: short at the beginning, where most viewers leave, and longer
// later.
func blockOf(number uint64) uint64 {
	if number < leastTime {
		return number / blockSegments
	}
	shift := bits.Len64(number) - 4
	return leastTime + uint64(shift)<<4 + number>>shift
}

func block(stream string, n uint64) uint64 {
	h := xxhash.Sum64String(stream) ^ (n+1)*0x9e3779b97f4a7c15
	h ^= h >> 32
	return notZero(h * 0xd6e8feb86659fd93)
}

// notZero keeps clear of what says "none" in Node.Group.
func notZero(h uint64) uint64 {
	if h == 0 {
		return 1
	}
	return h
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
