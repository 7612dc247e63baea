package transform

import "strings"

// Tag returns the entity tag of the representation of an object in the coding e, where etag is the tag of
// the object: weak, because an encoder does not promise the same bytes, and another one for each coding,
// because a cache behind this edge tells them apart by it (RFC 9110 §8.8.3.3). What is no entity tag is "".
func Tag(etag string, e Encoding) string {
	opaque, ok := opaqueOf(etag)
	if !ok {
		return ""
	}
	return `W/"` + opaque + "-" + string(e) + `"`
}

// OriginalTags returns the If-None-Match with which to ask whether an object has changed, for what a client
// has sent who may hold an encoded representation of it: each member, and what [Tag] had made it of. Both,
// for an origin's own tags may end like that, too. What cannot be understood is returned as it is.
func OriginalTags(ifNoneMatch string) string {
	var out strings.Builder
	for rest := ifNoneMatch; ; {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			break
		}
		member, after, ok := cutTag(rest)
		if !ok {
			return ifNoneMatch // also "*"
		}
		rest = after
		if out.Len() > 0 {
			out.WriteString(", ")
		}
		out.WriteString(member)
		opaque, _ := opaqueOf(member)
		if i := strings.LastIndexByte(opaque, '-'); i >= 0 && strings.HasPrefix(member, "W/") {
			switch Encoding(opaque[i+1:]) {
			case Zstd, Brotli, Gzip, Identity:
				out.WriteString(`, "` + opaque[:i] + `"`)
			}
		}
	}
	if out.Len() == 0 {
		return ifNoneMatch
	}
	return out.String()
}

// cutTag takes the entity tag off the beginning of a list. A comma may be part of a tag.
func cutTag(list string) (tag, rest string, ok bool) {
	start := 0
	if strings.HasPrefix(list, "W/") {
		start = 2
	}
	if !strings.HasPrefix(list[start:], `"`) {
		return "", "", false
	}
	end := strings.IndexByte(list[start+1:], '"')
	if end < 0 {
		return "", "", false
	}
	end += start + 2
	if rest = strings.TrimLeft(list[end:], " \t"); rest != "" && rest[0] != ',' {
		return "", "", false
	}
	return list[:end], rest, true
}

// opaqueOf returns what stands between the quotes of an entity tag.
func opaqueOf(etag string) (string, bool) {
	tag, _, ok := cutTag(etag)
	if !ok || tag != etag {
		return "", false
	}
	tag = strings.TrimPrefix(tag, "W/")
	return tag[1 : len(tag)-1], true
}
