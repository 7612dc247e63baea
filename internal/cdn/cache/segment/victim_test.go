package segment

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// A process that appends is killed at any moment: every record whose Append had returned is found again,
// and every record that is found is what was written.
func TestAProcessIsKilled(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	settings := Settings{Dir: t.TempDir(), CapacityBytes: 16 << 20, SegmentBytes: 2 << 20}
	random := rand.New(rand.NewPCG(1, 9))
	torn, checked := 0, 0
	for round := range rounds {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "WEIR_SEGMENT_VICTIM="+settings.Dir)
		child.Stderr = os.Stderr
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		must := make(map[uint64]bool) // what has to be there
		may := make(map[uint64]bool)  // what may be there: its drop had begun
		left, ready := 1+random.IntN(150), false
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var seed uint64
			what, number, _ := strings.Cut(lines.Text(), " ")
			if _, err := fmt.Sscan(number, &seed); err != nil {
				continue // the last line may be torn, too
			}
			switch what {
			case "has":
				must[seed] = true
			case "drops":
				delete(must, seed)
				may[seed] = true
			case "ready":
				ready = true
			default:
				t.Errorf("round %d: the victim says %q", round, lines.Text())
			}
			if !ready {
				continue
			}
			if left--; left == 0 {
				child.Process.Kill()
			}
		}
		if err := child.Wait(); err == nil || left > 0 {
			t.Fatalf("round %d: the victim ended by itself: %v", round, err)
		}

		s := open(t, settings)
		torn += quarantined(s, "torn")
		recovered := found(t, s)
		for seed := range must {
			if _, ok := recovered[seed]; !ok {
				t.Errorf("round %d: record %d is not there", round, seed)
			}
		}
		for seed, r := range recovered {
			if err := whole(s, r, seed, int(r.BodyBytes)); err != nil {
				t.Errorf("round %d: record %d: %v", round, seed, err)
			}
			checked++
		}
		mustClose(t, s)
	}
	t.Logf("%d records checked in %d rounds; %d torn pieces", checked, rounds, torn)
	if checked < 50*rounds || torn < rounds/10 {
		t.Error("the test has not seen enough records, or has not killed in the middle of them")
	}
}

// victim is the process: it appends and drops until it is killed, and says so.
func victim(dir string) {
	s, err := Open(Settings{Dir: dir, CapacityBytes: 16 << 20, SegmentBytes: 2 << 20})
	if err != nil {
		panic(err)
	}
	defer background(s)()
	var (
		mu    sync.Mutex
		live  []Ref
		seeds []uint64
		next  = uint64(1)
		wg    sync.WaitGroup
	)
	say := func(what string, seed uint64) { fmt.Fprintf(os.Stdout, "%s %d\n", what, seed) } // called with mu held
	for r, meta := range s.Recovered {
		seed, n := readMeta(meta)
		if err := whole(s, r, seed, n); err != nil {
			panic(err)
		}
		live, seeds = append(live, r), append(seeds, seed)
		next = max(next, seed+1)
		say("has", seed)
	}
	say("ready", 0)
	drop := func() {
		mu.Lock()
		defer mu.Unlock()
		if len(live) == 0 {
			return
		}
		i := rand.IntN(len(live))
		say("drops", seeds[i])
		s.Drop(live[i])
		last := len(live) - 1
		live[i], seeds[i] = live[last], seeds[last]
		live, seeds = live[:last], seeds[:last]
	}
	for range 3 {
		wg.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				mu.Unlock()
				n := rand.IntN(20_000)
				if rand.IntN(3) == 0 {
					n = rand.IntN(400_000)
				}
				var body [][]byte
				for rest := bodyOf(seed, n); len(rest) > 0; {
					size := min(len(rest), 100) // more moments to be killed in
					body, rest = append(body, rest[:size]), rest[size:]
				}
				r, err := s.Append(metaOf(seed, n), body...)
				for ; errors.Is(err, ErrNoSpace); r, err = s.Append(metaOf(seed, n), body...) {
					drop()
				}
				if err != nil {
					panic(err)
				}
				mu.Lock()
				live, seeds = append(live, r), append(seeds, seed)
				say("has", seed)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
