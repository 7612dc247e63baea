package access

import "fmt"

// Held returns the bytes of verdicts that are kept, and how many were given up for room.
func Held(c *Chain) (held int64, pushed uint64) {
	v := c.state.Load().verdicts
	return v.held(), v.pushed.Load()
}

// FillReplays has all but one of the tokens that are good once used, until a moment.
func FillReplays(c *Chain, until int64) {
	c.replays.used = make(map[string]int64)
	for i := range maxReplays - 1 {
		c.replays.used[fmt.Sprint(i)] = until
	}
}
