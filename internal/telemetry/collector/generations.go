package collector

// generations is a map that forgets: it holds at least the limit values that were put or got last,
// and at most twice as many.
type generations[K comparable, V any] struct {
	limit      int
	young, old map[K]V
}

func (g *generations[K, V]) get(k K) (V, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	if ok {
		g.put(k, v)
	}
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if g.young == nil || len(g.young) >= g.limit {
		g.old, g.young = g.young, make(map[K]V)
	}
	g.young[k] = v
}
