// Package cmaf writes CMAF tracks (ISO/IEC 23000-19): the header, or initialisation segment, and
// the media segments of one H.264 or AAC track, as fragmented MP4 (ISO/IEC 14496-12, with -14 for
// AAC and -15 for H.264).
//
// A segment is a list of chunks, each a moof and an mdat, so that a part of low-latency HLS is one
// chunk of the segment that is still growing. Everything is written by appending to a byte slice
// whose size is known beforehand: a segment costs one allocation and one copy of its payload.
//
// Times are written as they are given. The package has no state, does no I/O and reads only the few
// fields of an SPS that the sample description needs.
package cmaf
