package hub

// ring is a queue of entries that grows as it is needed. Whoever pushes keeps it bounded.
type ring struct {
	entries []entry // its length is a power of two
	head    int     // index of the first entry
	n       int
	bytes   int // payload bytes of the units
}

func (r *ring) at(i int) *entry { return &r.entries[(r.head+i)&(len(r.entries)-1)] }

func (r *ring) push(e entry) {
	if r.n == len(r.entries) {
		grown := make([]entry, max(16, 2*len(r.entries)))
		for i := range r.n {
			grown[i] = *r.at(i)
		}
		r.entries, r.head = grown, 0
	}
	*r.at(r.n) = e
	r.n++
	r.bytes += e.size()
}

func (r *ring) pop() entry {
	first := r.at(0)
	e := *first
	*first = entry{} // let the payload go
	r.head = (r.head + 1) & (len(r.entries) - 1)
	r.n--
	r.bytes -= e.size()
	return e
}

// dropGOP removes the oldest GOP of which the reader has had nothing: the units from the first start in
// the ring to the next one. Tracks stay. It returns how many units are gone, 0 if there is no start, and
// whether the GOP was still open, reaching to the end of the ring.
func (r *ring) dropGOP() (units int, open bool) {
	from := 0
	for from < r.n && !r.at(from).start {
		from++
	}
	if from == r.n {
		return 0, false
	}
	to := from + 1
	for to < r.n && !r.at(to).start {
		to++
	}
	open = to == r.n

	// What is kept moves towards the tail, from behind: the tracks within, then all that is before.
	write := to
	for i := to - 1; i >= 0; i-- {
		e := *r.at(i)
		if i >= from && e.item.Unit != nil {
			units++
			r.bytes -= e.size()
			continue
		}
		write--
		*r.at(write) = e
	}
	for i := range write {
		*r.at(i) = entry{}
	}
	r.head = (r.head + write) & (len(r.entries) - 1)
	r.n -= write
	return units, open
}

func (e *entry) size() int {
	if e.item.Unit == nil {
		return 0
	}
	return len(e.item.Unit.Payload)
}
