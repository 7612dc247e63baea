package edge

import (
	"fmt"
	"slices"
)

// table is what a reload replaces. It does not change, so that a request which runs keeps its rule.
type table struct {
	cfg   Config
	rules rules
}

func newTable(c Config) *table {
	return &table{cfg: c, rules: slices.SortedFunc(slices.Values(c.Rules), func(a, b Rule) int { return len(b.Path) - len(a.Path) })}
}

// Reload takes over the rules, the limits, the timeouts and the trusted proxies of a new configuration. Requests
// that run go on with those of before, and those above a limit that has become lower end as they would have. The
// size of slices and what is encoded stay as they are, as what is in the cache was made with them. After an error
// everything is as it was.
func (h *Handler) Reload(c Config) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	if len(c.Rules) == 0 {
		return errNoRules
	}
	h.reloading.Lock()
	defer h.reloading.Unlock()
	h.fetches.configure(c.MaxFetches, c.MaxQueue, c.QueueTimeout)
	h.passes.configure(c.MaxPasses, c.MaxQueue, c.QueueTimeout)
	h.upgrades.configure(c.MaxUpgrades, 0, c.QueueTimeout)
	h.prefetch.slots.configure(c.MaxPrefetches, 0, c.QueueTimeout)
	h.table.Store(newTable(c))
	return nil
}
