package flv

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// AVCConfig is an AVC decoder configuration record.
type AVCConfig struct {
	// LengthSize is how many bytes precede each NAL unit with its length: 1, 2 or 4.
	LengthSize int
	// SPS and PPS are the parameter sets, at least one of each.
	SPS, PPS [][]byte
}

// ParseAVCConfig reads an AVC decoder configuration record (ISO/IEC 14496-15 §5.3.3.1.2).
func ParseAVCConfig(b []byte) (AVCConfig, error) {
	if len(b) < 6 {
		return AVCConfig{}, fmt.Errorf("AVC configuration has %d bytes, expected more than 6", len(b))
	}
	if b[0] != 1 {
		return AVCConfig{}, fmt.Errorf("AVC configuration has version %d, expected 1", b[0])
	}
	c := AVCConfig{LengthSize: int(b[4]&3) + 1}
	if c.LengthSize == 3 {
		return AVCConfig{}, errors.New("AVC configuration has NAL unit lengths of 3 bytes, expected 1, 2 or 4")
	}
	var err error
	rest := b[6:]
	if c.SPS, rest, err = parameterSets(rest, int(b[5]&0x1F)); err != nil {
		return AVCConfig{}, fmt.Errorf("SPS: %w", err)
	}
	if len(rest) < 1 {
		return AVCConfig{}, errors.New("AVC configuration ends before its PPS")
	}
	if c.PPS, _, err = parameterSets(rest[1:], int(rest[0])); err != nil {
		return AVCConfig{}, fmt.Errorf("PPS: %w", err)
	}
	return c, nil
}

func parameterSets(b []byte, n int) (sets [][]byte, rest []byte, err error) {
	for i := range n {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, nil, fmt.Errorf("AVC configuration ends within parameter set %d of %d", i+1, n)
		}
		size := int(binary.BigEndian.Uint16(b))
		if size > 0 {
			sets = append(sets, b[2:2+size:2+size])
		}
		b = b[2+size:]
	}
	if len(sets) == 0 {
		return nil, nil, errors.New("AVC configuration has none")
	}
	return sets, b, nil
}

// Picture is an AVC access unit as it is passed on.
type Picture struct {
	// Data has NAL units with lengths of four bytes.
	Data []byte
	// Keyframe says that there is a slice of an IDR picture.
	Keyframe bool
	// Coded says that there is any slice; without one there is no picture.
	Coded bool
}

// ParseAVC reads the NAL units of an access unit, each with a length of lengthSize bytes. Data shares
// the memory of b if it can: other lengths are rewritten, and empty NAL units left out.
func ParseAVC(b []byte, lengthSize int) (Picture, error) {
	p := Picture{Data: b}
	count, empty := 0, false
	for rest := b; len(rest) > 0; {
		nal, after, err := nextNAL(rest, lengthSize)
		if err != nil {
			return Picture{}, err
		}
		rest = after
		if len(nal) == 0 {
			empty = true
			continue
		}
		count++
		switch nal[0] & 0x1F { // nal_unit_type, ISO/IEC 14496-10 table 7-1
		case 5:
			p.Keyframe, p.Coded = true, true
		case 1, 2:
			p.Coded = true
		}
	}
	if lengthSize == 4 && !empty {
		return p, nil
	}
	p.Data = make([]byte, 0, len(b)+4*count)
	for rest := b; len(rest) > 0; {
		nal, after, err := nextNAL(rest, lengthSize)
		if err != nil {
			return Picture{}, err
		}
		rest = after
		if len(nal) > 0 {
			p.Data = binary.BigEndian.AppendUint32(p.Data, uint32(len(nal)))
			p.Data = append(p.Data, nal...)
		}
	}
	return p, nil
}

func nextNAL(b []byte, lengthSize int) (nal, rest []byte, err error) {
	if len(b) < lengthSize {
		return nil, nil, fmt.Errorf("access unit ends within a NAL unit length, %d bytes left", len(b))
	}
	var size uint32
	for _, c := range b[:lengthSize] {
		size = size<<8 | uint32(c)
	}
	b = b[lengthSize:]
	if uint64(size) > uint64(len(b)) {
		return nil, nil, fmt.Errorf("NAL unit of %d bytes, %d are left of the access unit", size, len(b))
	}
	return b[:size], b[size:], nil
}
