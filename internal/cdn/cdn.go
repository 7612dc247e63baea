package cdn

import "path"

// ObjectKind is the part that an object plays in a presentation; freshness rules go by it.
type ObjectKind string

// The kinds of object, told by the key's extension.
const (
	Manifest ObjectKind = "manifest" // HLS playlist or DASH MPD
	Init     ObjectKind = "init"     // CMAF header
	Segment  ObjectKind = "segment"  // CMAF segment
	Other    ObjectKind = "other"
)

// KindOf returns the kind of the object that key names.
func KindOf(key string) ObjectKind {
	switch path.Ext(key) {
	case ".m3u8", ".mpd":
		return Manifest
	case ".mp4":
		return Init
	case ".m4s", ".ts", ".aac", ".m4a", ".m4v", ".cmfa", ".cmfv", ".cmft", ".vtt":
		return Segment
	default:
		return Other
	}
}

// CacheStatus says how a cache answered a request. The words are those of RFC 9211 §2 as far as it
// has them.
type CacheStatus string

// What a cache can have done with a request.
const (
	Hit       CacheStatus = "hit"       // fresh in the cache
	Miss      CacheStatus = "miss"      // fetched from the origin for this request
	Stale     CacheStatus = "stale"     // served although no longer fresh
	Collapsed CacheStatus = "collapsed" // waited for, or read along with, another request's fetch
	Bypass    CacheStatus = "bypass"    // never looked up
)

// MissReason says why a request was not a hit. No CDN log has it; a verdict needs it.
type MissReason string

// Why an object was not in the cache.
const (
	Cold        MissReason = "cold"        // never seen, as far as the cache remembers
	Expired     MissReason = "expired"     // held, but its freshness lifetime had passed
	Evicted     MissReason = "evicted"     // held earlier, given up for room
	Purged      MissReason = "purged"      // held earlier, invalidated since
	Ranged      MissReason = "ranged"      // parts of it are held, but not those that were asked for
	Uncacheable MissReason = "uncacheable" // the answer may not be stored
)
