// Package dash writes the MPD of MPEG-DASH (ISO/IEC 23009-1): presentations of CMAF segments that are
// named by number and timed by a SegmentTimeline, live or ended.
//
// An MPD is a value that is appended to a byte slice; every text is escaped.
package dash
