// Package access decides who is let to what. A [Chain] holds a request against the rule of its path: lists
// of addresses, places, limits of rate, referrers, proof of work, and credentials of four kinds, of which one
// that is good is enough. Each part is optional; the rule with the longest path counts, and it alone.
//
// A path is what it means, not how it is spelt: it is decoded and cleaned as the edge does before it looks an
// object up, so that no spelling of a path escapes its rule. What is refused gets a [Decision] with a status
// and a reason; the reason is for the log, the viewer is told the status only.
//
// [Chain.Needs] is asked before every request and takes no lock and no memory. [Chain.Check] keeps tokens
// whose signature it has seen to be right, within bounds; what they claim, their expiry before all, is held
// against every request anew. All that it remembers about clients is bounded, and what is forgotten for want
// of room is counted. A Chain may be used by any number of goroutines; [Chain.Reload] replaces all rules at
// once. There is no lock order, because no two locks are held at a time.
package access
