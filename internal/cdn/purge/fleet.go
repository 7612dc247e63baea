package purge

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// fleet is who takes part, as far as the log has been read, how far each has confirmed, and who waits.
type fleet struct {
	now func() time.Time
	own string // this process, which is no member of its own fleet

	mu      sync.Mutex
	log     int64  // which log the numbers are of
	applied uint64 // this node has read and applied so far
	members map[string]*member
	waiters map[*waiter]struct{}
}

// member is another node that takes part.
type member struct {
	node, instance string
	home           string // "": not known
	fence          time.Duration
	// announced is the place of its last announcement.
	announced uint64
	// reach is up to where nothing of before can be served there: it has confirmed so far, or was not
	// serving yet and applies what was before its join until it does.
	reach uint64
	heard time.Time
}

type waiter struct {
	sequence uint64
	since    time.Time
	done     chan struct{}
}

func newFleet(own string, now func() time.Time) *fleet {
	return &fleet{now: now, own: own, members: make(map[string]*member), waiters: make(map[*waiter]struct{})}
}

// begin starts a reading of the log from a verified position, with the members that the log names. If it is
// the same log as before, what is known of how far they are stays; else, or if it has lost its end, what
// others have confirmed says nothing any more. Whoever could not be heard while this node was cut off is
// not blamed for it.
func (f *fleet) begin(log int64, applied uint64, same bool, announcements []announcement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.members
	f.log, f.applied, f.members = log, applied, make(map[string]*member)
	for _, a := range announcements {
		f.announce(a)
	}
	for instance, m := range f.members {
		if before := old[instance]; same && before != nil {
			m.reach = max(m.reach, before.reach)
		}
	}
	f.settle()
}

// read takes note that this node has applied the log up to sequence, with an announcement if there is one there.
func (f *fleet) read(sequence uint64, a *announcement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a != nil {
		f.announce(*a)
	}
	f.applied = sequence
	f.settle()
}

// announce takes note of an announcement. The caller holds the lock.
func (f *fleet) announce(a announcement) {
	if a.Instance == f.own {
		return
	}
	m := f.members[a.Instance]
	if a.Alone && a.Kind != kindLeave {
		maps.DeleteFunc(f.members, func(_ string, m *member) bool {
			return m.node == a.Node && m.home != "" && m.home == a.Home && m.instance != a.Instance
		})
	}
	switch {
	case a.Kind == kindLeave:
		delete(f.members, a.Instance)
		return
	case m == nil:
		m = &member{node: a.Node, instance: a.Instance, home: a.Home, heard: f.now()}
		f.members[a.Instance] = m
	}
	m.announced, m.fence = a.sequence, a.Fence
	if a.Kind == kindJoin {
		m.reach = max(m.reach, a.sequence-1)
	}
}

// confirm takes note of how far a node says it is.
func (f *fleet) confirm(r report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[r.Instance]
	if m == nil {
		return
	}
	m.heard = f.now()
	if r.Log == f.log && r.Applied > m.reach {
		m.reach = r.Applied
		f.settle()
	}
}

// settle wakes those whose purge all have applied. The caller holds the lock.
func (f *fleet) settle() {
	if len(f.waiters) == 0 {
		return
	}
	floor := f.applied
	for _, m := range f.members {
		floor = min(floor, m.reach)
	}
	for w := range f.waiters {
		if w.sequence <= floor {
			delete(f.waiters, w)
			close(w.done)
		}
	}
}

// wait returns somebody who waits for all to apply the log up to sequence. To be ended with leave.
func (f *fleet) wait(sequence uint64) *waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &waiter{sequence: sequence, since: f.now(), done: make(chan struct{})}
	f.waiters[w] = struct{}{}
	f.settle()
	return w
}

func (f *fleet) leave(w *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waiters, w)
}

// overdue reports whether somebody has been waiting for so long.
func (f *fleet) overdue(long time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	for w := range f.waiters {
		if now.Sub(w.since) >= long {
			return true
		}
	}
	return false
}

// standing returns who has applied the log up to sequence and who has not, by name. Of two processes of one
// node both have to. own is this node, which counts if it serves, and is missing if it has not read so far:
// then it cannot even know who the others are.
func (f *fleet) standing(sequence uint64, own string, serves bool) (confirmed, missing []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	has := make(map[string]bool, len(f.members)+1)
	count := func(name string, reached bool) {
		before, known := has[name]
		has[name] = reached && (before || !known)
	}
	for _, m := range f.members {
		count(m.node, m.reach >= sequence)
	}
	if read := f.applied >= sequence; serves || !read {
		count(own, read)
	}
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if has[name] {
			confirmed = append(confirmed, name)
		} else {
			missing = append(missing, name)
		}
	}
	return confirmed, missing
}

// namesakes returns how many other folders have a node of that name.
func (f *fleet) namesakes(node, home string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	homes := make(map[string]bool)
	for _, m := range f.members {
		if m.node == node && m.home != home {
			homes[m.home] = true
		}
	}
	return len(homes)
}

// fenceMargin is how much longer than its own time a node may answer from its cache after it was heard: it has to find
// out that it hears nothing, signs of life are some time apart, and it may be busy handing over to a successor.
const fenceMargin = 3 * time.Minute

// silent returns the members that have said nothing for so long, and answer nothing from their caches any more.
func (f *fleet) silent(long time.Duration) []member {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []member
	now := f.now()
	for _, m := range f.members {
		if now.Sub(m.heard) >= max(long, m.fence+fenceMargin) {
			all = append(all, *m)
		}
	}
	return all
}
