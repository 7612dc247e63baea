package app

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
)

// goal is the size of the heap at which the collector begins.
func goal(t *testing.T) uint64 {
	t.Helper()
	runtime.GC()
	s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// The collector begins later than it would, and no memory is used for that.
func TestBallastTakesNoMemory(t *testing.T) {
	t.Setenv("GOGC", "")
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Skip("the tests have a memory limit")
	}
	before, residentBefore := goal(t), resident(t)
	lift := layBallast()
	after, residentAfter := goal(t), resident(t)
	lift()
	if after < before+ballastBytes {
		t.Errorf("the collector begins at %d bytes, and at %d without ballast", after, before)
	}
	if grown := residentAfter - residentBefore; !raceDetector && grown > ballastBytes/4 { // it has memory of its own
		t.Errorf("%d bytes of memory more are in use", grown)
	}
}

// Who has told the runtime how to collect is obeyed.
func TestNoBallastAgainstTheUser(t *testing.T) {
	check := func(t *testing.T) {
		t.Helper()
		before := goal(t)
		defer layBallast()()
		if after := goal(t); after > before+ballastBytes/2 {
			t.Errorf("the collector begins at %d bytes, and at %d without ballast", after, before)
		}
	}
	t.Run("GOGC", func(t *testing.T) {
		t.Setenv("GOGC", "50")
		check(t)
	})
	t.Run("memory limit", func(t *testing.T) {
		defer debug.SetMemoryLimit(debug.SetMemoryLimit(8 << 30))
		check(t)
	})
}

// resident returns the memory of this process that is in use.
func resident(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
