package cmaf

import "encoding/binary"

var be = binary.BigEndian

// begin appends the header of a box whose size is not known yet and returns where it starts; end
// fills in the size. ISO/IEC 14496-12 §4.2.
func begin(b []byte, kind string) ([]byte, int) {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	return append(b, kind...), start
}

func end(b []byte, start int) []byte {
	be.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// beginFull appends the header of a full box, which has a version and flags.
func beginFull(b []byte, kind string, version uint8, flags uint32) ([]byte, int) {
	b, start := begin(b, kind)
	return be.AppendUint32(b, uint32(version)<<24|flags&0xffffff), start
}

func zeros(b []byte, n int) []byte {
	for range n {
		b = append(b, 0)
	}
	return b
}

// matrix is the unity transformation of mvhd and tkhd.
func matrix(b []byte) []byte {
	for _, v := range [9]uint32{0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000} {
		b = be.AppendUint32(b, v)
	}
	return b
}
