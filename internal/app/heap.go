package app

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

// ballastBytes is how much the garbage collector believes to be in use beside what is. A busy edge makes hundreds of
// megabytes of rows in a second and keeps a few: the collector would run dozens of times in that second, and each time
// requests wait.
const ballastBytes = 64 << 20

// layBallast has the collector wait until there is ballastBytes more garbage than it would otherwise. The ballast is
// never touched, so that it takes no memory itself. There is none if the user has set GOGC or a memory limit. The caller
// calls lift when it ends.
func layBallast() (lift func()) {
	if os.Getenv("GOGC") != "" || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return func() {}
	}
	ballast := make([]byte, ballastBytes)
	giveBack(ballast) // of memory that was used before, it has been cleared
	return func() { runtime.KeepAlive(ballast) }
}
