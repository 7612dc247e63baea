package cmaf

// sampleFormat is what an AVCDecoderConfigurationRecord repeats from the SPS for the profiles that
// have a choice of sample formats.
type sampleFormat struct {
	chroma                 uint8 // chroma_format_idc
	depthLuma, depthChroma uint8 // bit_depth_…_minus8
}

// parseSampleFormat reads the sample format out of an SPS (ISO/IEC 14496-10 §7.3.2.1.1). It is not
// ok if the profile has no such fields or the SPS is damaged; the record is then written without.
func parseSampleFormat(sps []byte) (sampleFormat, bool) {
	if len(sps) < 5 {
		return sampleFormat{}, false
	}
	switch sps[1] { // ISO/IEC 14496-15 §5.3.3.1.2: all profiles but these end before the fields
	case 66, 77, 88:
		return sampleFormat{}, false
	}
	r := bitReader{data: sps[4:]}
	r.exp() // seq_parameter_set_id
	chroma := r.exp()
	if chroma == 3 {
		r.bit() // separate_colour_plane_flag
	}
	luma, chromaDepth := r.exp(), r.exp()
	if r.failed || chroma > 3 || luma > 6 || chromaDepth > 6 {
		return sampleFormat{}, false
	}
	return sampleFormat{chroma: uint8(chroma), depthLuma: uint8(luma), depthChroma: uint8(chromaDepth)}, true
}

// bitReader reads the bits of a NAL unit and leaves out the emulation prevention bytes
// (ISO/IEC 14496-10 §7.4.1).
type bitReader struct {
	data   []byte
	pos    int
	left   int // bits left of current
	cur    byte
	zeros  int // zero bytes in a row before pos
	failed bool
}

func (r *bitReader) bit() uint32 {
	if r.left == 0 {
		if r.zeros >= 2 && r.pos < len(r.data) && r.data[r.pos] == 3 {
			r.pos, r.zeros = r.pos+1, 0
		}
		if r.pos >= len(r.data) {
			r.failed = true
			return 0
		}
		r.cur, r.left = r.data[r.pos], 8
		r.pos++
		if r.cur == 0 {
			r.zeros++
		} else {
			r.zeros = 0
		}
	}
	r.left--
	return uint32(r.cur>>r.left) & 1
}

// exp reads an Exp-Golomb code, ISO/IEC 14496-10 §9.1.
func (r *bitReader) exp() uint32 {
	n := 0
	for r.bit() == 0 {
		n++
		if r.failed || n > 31 {
			r.failed = true
			return 0
		}
	}
	v := uint32(1)
	for range n {
		v = v<<1 | r.bit()
	}
	return v - 1
}
