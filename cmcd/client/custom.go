package client

import (
	"strings"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/sf"
)

// maxCustomLength is the number of characters that a custom value may have (§4.1 item 5).
const maxCustomLength = 64

// customValue reports whether the value of a custom key can be sent.
func (p *preparation) customValue(c *cmcd.CustomValue) bool {
	if !c.Bare {
		return c.Value != "" && p.writable(c.Value, maxCustomLength)
	}
	wire := c.Key
	if c.Value != "" && !strings.HasPrefix(c.Value, ";") {
		wire += "="
	}
	wire += c.Value
	members, errs := sf.ParseDictionary(wire)
	if len(errs) > 0 || len(members) != 1 || members[0].Name != c.Key {
		p.warn(cmcd.WarnBadValue)
		return false
	}
	m := members[0]
	plain := !m.List && len(m.Params) == 0
	switch {
	case plain && m.Kind == sf.Boolean && !m.Bool:
		return false
	case plain && m.Kind == sf.String:
		c.Value, c.Bare = m.Text, false
		return p.customValue(c)
	case p.version > 1 && !p.o.Lenient && (!plain || m.Kind != sf.Token):
		p.warn(cmcd.WarnBadValue)
		return false
	case len(c.Value) > maxCustomLength:
		p.warn(cmcd.WarnTooLong)
		return false
	}
	parts := len(m.Items) + len(m.Params)
	for i := range m.Items {
		parts += len(m.Items[i].Params)
	}
	if p.items+parts > maxItems {
		p.warn(cmcd.WarnTooMany)
		return false
	}
	p.items += parts
	c.Value = strings.TrimRight(c.Value, " \t")
	return true
}
