package load

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/natsserver"
)

// Eight edges, each in a network namespace of its own, which lose packets between them: each drops that share of what
// reaches it from another, of messages and of acknowledgements alike. Three of them are the servers of the bus. Purges
// are asked of each in turn; after each confirmation all eight are asked at once for what was purged.
const (
	purgeEdges   = 8
	purgeServers = 3
	purgeWorkers = 4
	purgeWait    = 10 * time.Second
)

func TestPurge(t *testing.T) {
	needMeasure(t)
	if !inNamespace(t, purgeNamespace, "cubic, ", "nft") {
		return
	}
	tb := newTable("", "purges", "p50 ms", "p90 ms", "p99 ms", "max ms", "not confirmed by all", "stale answers", "answers to viewers meanwhile", "of them hits")
	for _, c := range []struct {
		name   string
		lost   int // of a hundred packets
		timers time.Duration
		purges int
		goal   bool
	}{
		{"no loss", 0, natsserver.DefaultConfig().RetransmitMin, 1000, true},
		{"10 % loss", 10, natsserver.DefaultConfig().RetransmitMin, 1000, true},
		// For comparison: what a kernel before Linux 6.15 does.
		{"10 % loss, TCP's own timers", 10, 0, 200, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startPurgeFleet(t, purgeFleetOptions{lost: c.lost, timers: c.timers})
			stop := f.view(t)
			durations, missing := f.purgeAll(t, c.purges)
			stop()
			slices.Sort(durations)
			at := func(share float64) time.Duration { return quantile(durations, share) }
			if dropped := f.dropped(t); (dropped == 0) != (c.lost == 0) {
				t.Errorf("%d packets were dropped; the measurement is not what it says", dropped)
			}
			tb.row(c.name, fmt.Sprint(len(durations)), milliseconds(at(.5)), milliseconds(at(.9)), milliseconds(at(.99)), milliseconds(at(1)), fmt.Sprint(missing),
				fmt.Sprintf("%d of %d", f.stale.Load(), f.asked.Load()), fmt.Sprint(f.viewed.Load()), fmt.Sprint(f.hits.Load()))
			if f.stale.Load() > 0 {
				t.Errorf("%d answers after the confirmation were of before it", f.stale.Load())
			}
			if c.goal && (at(.5) > 150*time.Millisecond || at(.99) > 2*time.Second) {
				t.Errorf("p50 %v and p99 %v; at most 150ms and 2s are the goal", at(.5), at(.99))
			}
		})
	}
	tb.print("Purges", fmt.Sprintf("%d edges, %d of them with a server of the bus; %d purges at a time, each waited for %v at most. %s",
		purgeEdges, purgeServers, purgeWorkers, purgeWait, machine(t)))
}

// purgeAll changes objects and purges them, and returns how long the confirmations took.
func (f *purgeFleet) purgeAll(t *testing.T, n int) (durations []time.Duration, missing int) {
	t.Helper()
	var mu sync.Mutex
	var next atomic.Int64
	var workers sync.WaitGroup
	for worker := range purgeWorkers {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				object := worker + purgeWorkers*(i%(purgeObjects/purgeWorkers)) // each has its own
				version := f.version[object].Add(1)
				purged, err := f.purge(t.Context(), i%purgeEdges, object, purgeWait)
				if err != nil {
					t.Errorf("purge %d: %v", i, err)
					continue
				}
				f.check(t, object, version, purged.Missing)
				mu.Lock()
				durations = append(durations, purged.took)
				missing += min(1, len(purged.Missing))
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if len(durations) == 0 {
		t.Fatal("nothing was purged")
	}
	return durations, missing
}

// One edge of eight is cut off while purges go on: nothing reaches it, and nothing that it sends reaches anybody. Whoever
// purges is told that it has not confirmed. It comes back and is asked for what it has missed from its first moment on.
// If it was away for longer than fence_after, it must not have any of it, ever; else it may until it has heard.
func TestPurgeCutOff(t *testing.T) {
	needMeasure(t)
	if !inNamespace(t, purgeNamespace, "cubic, ", "nft") {
		return
	}
	const cut = purgeEdges - 1
	tb := newTable("cut off", "for", "fence_after", "purges that named it", "that did not", "back: first answer ms", "answers", "stale", "the last of them ms", "failed", "it has confirmed ms")
	for _, c := range []struct {
		name  string
		fence time.Duration
		away  time.Duration
	}{
		{"for longer than fence_after", 10 * time.Second, 15 * time.Second},
		{"for less than fence_after", 5 * time.Minute, 8 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := startPurgeFleet(t, purgeFleetOptions{lost: 10, timers: natsserver.DefaultConfig().RetransmitMin, fence: c.fence})
			f.fill(t)
			stop := f.view(t)
			defer stop()
			f.cut(t, cut)
			unnamed, named := f.purgeWithout(t, cut, c.away)
			missed := f.versions()

			reading, enough := context.WithCancel(t.Context())
			defer enough()
			var reads cutOffReads
			var reader sync.WaitGroup
			begun := make(chan struct{})
			reader.Go(func() { reads = f.readAll(reading, cut, missed, begun) })
			<-begun
			restored := time.Now()
			f.restore(t, cut)
			f.awaitConfirmation(t)
			caughtUp := time.Now()
			time.Sleep(time.Second) // of reads with nothing more to apply
			enough()
			reader.Wait()

			last := "-"
			if reads.stale > 0 {
				last = milliseconds(reads.lastStale.Sub(restored))
			}
			tb.row(c.name, c.away.String(), c.fence.String(), fmt.Sprint(named), fmt.Sprint(unnamed), milliseconds(reads.first.Sub(restored)), fmt.Sprint(reads.answers),
				fmt.Sprint(reads.stale), last, fmt.Sprint(reads.failed), milliseconds(caughtUp.Sub(restored)))
			if named == 0 || unnamed > 0 {
				t.Errorf("%d purges named the edge that was cut off, %d did not; all should", named, unnamed)
			}
			if reads.answers == 0 {
				t.Error("the edge gave no answer after it was back")
			}
			if reads.lastStale.After(caughtUp) {
				t.Errorf("an answer %v after a purge that it had confirmed was of before one that it had missed", reads.lastStale.Sub(caughtUp))
			}
			if c.away > c.fence && reads.stale > 0 {
				t.Errorf("%d answers of an edge that was fenced were of before a purge that it had missed, the first after %v", reads.stale, reads.firstStale.Sub(restored))
			}
			if f.stale.Load() > 0 {
				t.Errorf("%d answers of edges that had confirmed were of before it", f.stale.Load())
			}
		})
	}
	tb.print("An edge is cut off", fmt.Sprintf("One of %d edges, which lose 10 %% of all packets between them. %s", purgeEdges, machine(t)))
}

// purgeWithout purges for so long, asking any edge but one, and returns how many answers named that one as missing and
// how many did not.
func (f *purgeFleet) purgeWithout(t *testing.T, cut int, d time.Duration) (unnamed, named int) {
	t.Helper()
	var mu sync.Mutex
	var workers sync.WaitGroup
	end := time.Now().Add(d)
	for worker := range purgeWorkers {
		workers.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				object := worker + purgeWorkers*(i%(purgeObjects/purgeWorkers))
				version := f.version[object].Add(1)
				purged, err := f.purge(t.Context(), (worker+purgeWorkers*i)%cut, object, time.Second)
				if err != nil {
					t.Errorf("purge %d while an edge is cut off: %v", i, err)
					continue
				}
				f.check(t, object, version, append(purged.Missing, f.edges[cut].name))
				mu.Lock()
				if slices.Contains(purged.Missing, f.edges[cut].name) {
					named++
				} else {
					unnamed++
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return unnamed, named
}

// awaitConfirmation purges until all have confirmed one.
func (f *purgeFleet) awaitConfirmation(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		f.version[0].Add(1)
		purged, err := f.purge(t.Context(), 0, 0, time.Second)
		if err == nil && len(purged.Missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("an edge that is back confirms nothing for a minute: %v, %v", purged.Missing, err)
		}
	}
}

// cutOffReads is what an edge has answered that was cut off.
type cutOffReads struct {
	answers, stale, failed       int
	first, firstStale, lastStale time.Time
}

// readAll asks the edge for one object after the other over new connections, which tell within a moment when it is
// reached again, until ctx ends. Answers of before the versions are stale. begun is closed after the first attempt.
func (f *purgeFleet) readAll(ctx context.Context, edge int, versions []uint64, begun chan<- struct{}) (r cutOffReads) {
	client := newPurgeClient(100*time.Millisecond, 2*time.Second)
	client.transport().DisableKeepAlives = true
	for object := 0; ctx.Err() == nil; object = (object + 1) % purgeObjects {
		version, _, err := f.get(ctx, client, edge, object)
		now := time.Now()
		switch {
		case err != nil && ctx.Err() == nil:
			r.failed++
		case err == nil:
			if r.answers++; r.answers == 1 {
				r.first = now
			}
			if version < versions[object] {
				if r.stale++; r.stale == 1 {
					r.firstStale = now
				}
				r.lastStale = now
			}
		}
		if begun != nil {
			close(begun)
			begun = nil
		}
	}
	return r
}

// check asks every edge that has confirmed for the object, all at once.
func (f *purgeFleet) check(t *testing.T, object int, version uint64, missing []string) {
	t.Helper()
	var all sync.WaitGroup
	for i, edge := range f.edges {
		if slices.Contains(missing, edge.name) {
			continue
		}
		all.Go(func() {
			got, _, err := f.get(t.Context(), f.client, i, object)
			if err != nil {
				t.Errorf("%s: %v", edge.name, err)
				return
			}
			f.asked.Add(1)
			if got < version {
				f.stale.Add(1)
			}
		})
	}
	all.Wait()
}

// purgeNamespace is how the namespace is set up in which the origin, the viewers and whoever purges are. A folder of its
// own for the names of others keeps them apart from the machine's.
const purgeNamespace = `set -e
ip link set lo up
ip link add br0 type bridge
ip addr add ` + purgeOutside + `/24 dev br0
ip link set br0 up
mkdir -p /run/netns
mount -t tmpfs none /run/netns
exec "$0" "$@"`

// purgeOutside is the address of all that is no edge.
const purgeOutside = "10.77.0.100"

func purgeIP(edge int) string { return fmt.Sprint("10.77.0.", edge+1) }

// purgeNetwork makes a namespace for each edge, joined by the bridge, and returns their names.
func purgeNetwork(t *testing.T, lost int) []string {
	t.Helper()
	var all []string
	for i := range purgeEdges {
		name := fmt.Sprint("edge-", i)
		run(t, "ip netns add "+name)
		t.Cleanup(func() { run(t, fmt.Sprintf("ip link del p%d && ip netns del %s", i, name)) })
		run(t, fmt.Sprintf(`set -e
ip -n %[1]s link set lo up
ip -n %[1]s link add eth0 type veth peer name p%[2]d netns $$
ip link set p%[2]d master br0 up
ip -n %[1]s addr add %[3]s/24 dev eth0
ip -n %[1]s link set eth0 up
ip -n %[1]s route replace 10.77.0.0/24 dev eth0 src %[3]s congctl cubic`, name, i, purgeIP(i)))
		if lost > 0 {
			run(t, "ip netns exec "+name+" nft -f -", fmt.Sprintf(
				`table inet loss { chain in { type filter hook input priority 0; policy accept; ip saddr %s-%s numgen random mod 100 < %d counter drop; }; }`,
				purgeIP(0), purgeIP(purgeEdges-1), lost))
		}
		all = append(all, name)
	}
	return all
}

// cut has all packets dropped that an edge sends or gets.
func (f *purgeFleet) cut(t *testing.T, edge int) {
	t.Helper()
	run(t, "ip netns exec "+f.edges[edge].name+" nft -f -", `table inet cut {
chain in { type filter hook input priority -1; policy accept; iifname "eth0" drop; }
chain out { type filter hook output priority -1; policy accept; oifname "eth0" drop; }
}`)
}

func (f *purgeFleet) restore(t *testing.T, edge int) {
	t.Helper()
	run(t, "ip netns exec "+f.edges[edge].name+" nft delete table inet cut")
}

// dropped returns how many packets the edges have dropped of what others sent.
func (f *purgeFleet) dropped(t *testing.T) (packets int) {
	t.Helper()
	for _, edge := range f.edges {
		if _, after, ok := strings.Cut(run(t, "ip netns exec "+edge.name+" nft list ruleset"), "counter packets "); ok {
			n := 0
			_, _ = fmt.Sscan(after, &n)
			packets += n
		}
	}
	return packets
}
