// Package flv reads the bodies of FLV audio and video tags, which are also those of RTMP's audio and
// video messages: the legacy form (Adobe Flash Video File Format Specification 10.1, annex E) and that of
// Enhanced RTMP v2. It also reads the AVC decoder configuration record within them (ISO/IEC 14496-15
// §5.3.3.1).
//
// Bodies are not trusted. What is returned shares the memory of the body.
package flv
