package freshness

import (
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// What is taken of one answer's tags; RFC 9875 §2 asks for at least 32 of 32 bytes.
const (
	MaxTags     = 64
	MaxTagBytes = 256
)

// tagSet collects tags, each once.
type tagSet struct {
	tags    []string
	dropped int
}

func (s *tagSet) add(tag string) {
	switch {
	case tag == "":
		return
	case len(tag) > MaxTagBytes:
		s.dropped++
		return
	}
	for _, t := range s.tags {
		if t == tag {
			return
		}
	}
	if len(s.tags) == MaxTags {
		s.dropped++
		return
	}
	s.tags = append(s.tags, tag)
}

// Tags returns the tags by which an answer can be purged, those of Cache-Groups (RFC 9875 §2) first, then
// those of its elder relatives: Surrogate-Key and xkey, divided by white space, and Cache-Tag, divided by
// commas. Dropped is the number of those that were too long or too many: a purge of one of these does
// not find the object.
func Tags(h http.Header) (tags []string, dropped int) {
	var s tagSet
	s.addGroups(h["Cache-Groups"])
	for _, name := range [...]string{"Surrogate-Key", "Xkey"} {
		for _, line := range h[name] {
			for tag := range strings.FieldsSeq(line) {
				s.add(tag)
			}
		}
	}
	for _, line := range h["Cache-Tag"] {
		for tag := range strings.SplitSeq(line, ",") {
			s.add(trimSpace(tag))
		}
	}
	return s.tags, s.dropped
}

// InvalidatedGroups returns the tags that the answer to an unsafe request invalidates (RFC 9875 §3). The
// caller sees to it that the method was unsafe ([Invalidates]): in other answers the field is to be
// ignored. Dropped is as with [Tags].
func InvalidatedGroups(h http.Header) (tags []string, dropped int) {
	var s tagSet
	s.addGroups(h["Cache-Group-Invalidation"])
	return s.tags, s.dropped
}

// addGroups adds a List of Strings. One that is none is ignored as a whole (RFC 9651 §4.2); parameters are
// ignored.
func (s *tagSet) addGroups(lines []string) {
	if len(lines) == 0 {
		return
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return
	}
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok {
			return
		}
		if _, ok := item.Value.(string); !ok {
			return
		}
	}
	for _, member := range list {
		s.add(member.(httpsfv.Item).Value.(string))
	}
}
