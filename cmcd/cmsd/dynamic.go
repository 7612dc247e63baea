package cmsd

import (
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/sf"
)

// Hop is what one server says of the way to the next, or to the player. What is nil, empty or false is
// not said.
type Hop struct {
	Name          string // of the server and whose it is, as short as can be
	Duress        bool   // du: the server has more to do than it can, go elsewhere
	Throughput    *int64 // etp: estimated at the start of the response, kbit/s
	RTT           *int64 // rtt: round trip time, ms
	MaxBitrate    *int64 // mb: the player should play no more than this, kbit/s
	ResponseDelay *int64 // rd: from the request to the first byte of the body, ms
	// Other are custom keys, which have a hyphen, and keys of later versions.
	Other []cmcd.CustomValue
}

// fields are the keys in the order that they are written, which is that of the examples.
func (h *Hop) fields() []field {
	return []field{
		flag("du", &h.Duress),
		number("etp", &h.Throughput),
		number("rtt", &h.RTT),
		number("mb", &h.MaxBitrate),
		number("rd", &h.ResponseDelay),
	}
}

// String returns the value of a CMSD-Dynamic header with this hop alone. What cannot be written is left
// out: numbers below 0 or of more than 15 digits, and custom values that would need a space outside of a string.
func (h *Hop) String() string {
	return strings.Join(append([]string{quoted(h.Name)}, write(h.fields(), h.Other, false)...), ";")
}

// Dynamic is the way of a response, from the origin to the player.
type Dynamic []Hop

// ParseDynamic reads the CMSD-Dynamic headers of a response. The error tells what was dropped. There are 64 hops and
// 64 keys that are not known at most.
func ParseDynamic(headers ...string) (Dynamic, error) {
	var d Dynamic
	r := reader{header: DynamicHeader}
	for _, m := range r.members(sf.ParseList(joined(headers))) {
		if m.List || m.Kind != sf.String && m.Kind != sf.Token {
			r.drop("found %s, expected the name of a server, a string", clip(m.Raw))
			continue
		}
		if len(d) == maxHops {
			r.drop("found %s, expected no more than %d servers on the way", clip(m.Raw), maxHops)
			continue
		}
		h := Hop{Name: m.Text}
		fields := h.fields()
		for _, p := range m.Params {
			r.read(fields, sf.Member{Name: p.Name, Value: p.Value, Bare: p.Bare, Raw: p.Raw}, &h.Other)
		}
		d = append(d, h)
	}
	return d, r.err()
}

// String returns the value of a CMSD-Dynamic header with all hops.
func (d Dynamic) String() string {
	hops := make([]string, len(d))
	for i := range d {
		hops[i] = d[i].String()
	}
	return strings.Join(hops, ",")
}

// Append returns the value of the CMSD-Dynamic header of a server that passes a response on: the hops
// that came with it, and its own. What came and cannot be read is dropped, since it would make the
// header unreadable for everybody behind.
func Append(headers []string, own Hop) string {
	d, _ := ParseDynamic(headers...)
	return append(d, own).String()
}
