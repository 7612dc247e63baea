package load

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/survival"
)

var edgeKills = flag.Int("edge-kills", 50, "how often the edge is killed")

// An edge is killed again and again while it is read from. Its cache is smaller than what is asked for, so that
// it writes all the time.
func TestEdgeKills(t *testing.T) {
	needMeasure(t)
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	result, err := survival.Run(t.Context(), survival.Settings{
		Program: program, Dir: t.TempDir(), Kills: *edgeKills, MinRun: 300 * time.Millisecond, MaxRun: 2 * time.Second,
		Viewers: 16, Objects: 1000, CacheBytes: 128 << 20, CacheMemory: 32 << 20, Seed: uint64(begun.UnixNano()),
	})
	if err != nil {
		t.Fatal(err)
	}
	ready := slices.Sorted(slices.Values(result.Ready))
	tb := newTable("kills", "answers", "GB compared", "wrong bytes", "failed without a kill", "cut off by a kill", "ready after, p50 ms", "worst ms (goal 5000)",
		"objects that were hits at the first request after a restart", "share")
	tb.row(fmt.Sprint(*edgeKills), fmt.Sprint(result.Answers), number(float64(result.Bytes)/1e9), fmt.Sprint(len(result.Wrong)), fmt.Sprint(len(result.Failed)),
		fmt.Sprint(result.Cut), milliseconds(quantile(ready, .5)), milliseconds(ready[len(ready)-1]),
		fmt.Sprintf("%d of %d", result.Survived, result.Known), number(100*float64(result.Survived)/float64(max(1, result.Known)))+" %")
	tb.print("kill -9 under load", fmt.Sprintf("1000 objects of 1 kB to 2 MB, 16 viewers, a quarter of the requests with a range; 128 MB on disk. In %v the origin was asked %d times.\n%s",
		time.Since(begun).Round(time.Second), result.Fetched, machine(t)))
	for _, wrong := range result.Wrong {
		t.Errorf("wrong: %s", wrong)
	}
	for _, failed := range result.Failed {
		t.Errorf("failed: %s", failed)
	}
	if worst := ready[len(ready)-1]; worst > 5*time.Second {
		t.Errorf("ready after %v; at most 5s are the goal", worst)
	}
	if result.Survived == 0 {
		t.Errorf("of %d objects none has survived", result.Known)
	}
}
