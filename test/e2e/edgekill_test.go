package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/survival"
)

// An edge that is killed comes back with what it had, soon, and never serves a byte that the origin does not
// have. make load does the same fifty times.
func TestEdgeSurvivesKill(t *testing.T) {
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	result, err := survival.Run(t.Context(), survival.Settings{
		Program: program, Dir: t.TempDir(), Kills: 5, MinRun: 300 * time.Millisecond, MaxRun: 800 * time.Millisecond,
		Viewers: 8, Objects: 200, CacheBytes: 32 << 20, CacheMemory: 8 << 20, Seed: uint64(time.Now().UnixNano()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d answers with %d bytes, %d cut off, %d requests to the origin; %d of %d objects survived; ready after %v",
		result.Answers, result.Bytes, result.Cut, result.Fetched, result.Survived, result.Known, result.Ready)
	for _, wrong := range result.Wrong {
		t.Errorf("wrong: %s", wrong)
	}
	for _, failed := range result.Failed {
		t.Errorf("failed: %s", failed)
	}
	for i, ready := range result.Ready {
		if ready > 5*time.Second {
			t.Errorf("start %d: ready after %v; at most 5s are expected", i, ready)
		}
	}
	if result.Answers == 0 || result.Known == 0 || result.Survived == 0 {
		t.Errorf("%d answers; of %d objects that it had before a kill %d survived; some are expected", result.Answers, result.Known, result.Survived)
	}
}
