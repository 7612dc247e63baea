package cdn

import (
	"fmt"
	"slices"
	"time"
)

// PurgeScope says what a purge names.
type PurgeScope string

// What can be purged.
const (
	PurgeURL    PurgeScope = "url"    // one object, and all its variants; the query belongs to it
	PurgePrefix PurgeScope = "prefix" // every object whose path begins so
	PurgeTag    PurgeScope = "tag"    // every object that the origin has given this tag
	PurgeAll    PurgeScope = "all"
)

// MaxPurgeTarget is the greatest length of what a purge names, in bytes.
const MaxPurgeTarget = 4 << 10

// Purge is one invalidation, as it travels to every edge.
type Purge struct {
	// Sequence is its place among all purges of the fleet, from 1; 0 as long as it has none.
	Sequence uint64 `json:"sequence,omitempty"`
	// ID identifies it for ever, so that one that is sent twice is one.
	ID    string     `json:"id"`
	Scope PurgeScope `json:"scope"`
	// Target is the path with its query, the beginning of paths, or the tag; "" for everything.
	Target string `json:"target,omitempty"`
	// Host narrows a url or a prefix to one name under which objects are asked for; "" is any. It may have a port,
	// and be written as in a URL.
	Host string `json:"host,omitempty"`
	// Soft makes objects stale instead of removing them: they may still serve where stale ones may.
	Soft bool `json:"soft,omitempty"`
	// Time is when it was asked for, By who asked.
	Time time.Time `json:"time"`
	By   string    `json:"by,omitempty"`
}

// Hosts returns how objects are kept that are asked for under the purge's host: its clean spelling, or both where it
// depends on the scheme whether the port is said. It is empty if the purge names no host.
func (p Purge) Hosts() []string {
	var hosts []string
	for _, secure := range []bool{false, true} {
		if host, ok := HostOf(p.Host, secure); ok && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// Validate reports what is wrong with the purge.
func (p Purge) Validate() error {
	if len(p.Target) > MaxPurgeTarget {
		return fmt.Errorf("the target has %d bytes; at most %d are expected", len(p.Target), MaxPurgeTarget)
	}
	if _, ok := HostOf(p.Host, false); p.Host != "" && !ok {
		return fmt.Errorf("the host is %q; a name or an address is expected, with a port or without", p.Host)
	}
	switch p.Scope {
	case PurgeURL, PurgePrefix:
		if p.Target == "" || p.Target[0] != '/' {
			return fmt.Errorf("the target is %q; a path that begins with / is expected", p.Target)
		}
	case PurgeTag:
		if p.Target == "" {
			return fmt.Errorf("the target is empty; a tag is expected")
		}
	case PurgeAll:
		if p.Target != "" {
			return fmt.Errorf("the target is %q; none is expected where everything is purged", p.Target)
		}
	default:
		return fmt.Errorf("the scope is %q; url, prefix, tag or all is expected", p.Scope)
	}
	return nil
}
