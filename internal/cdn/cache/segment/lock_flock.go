//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package segment

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile locks f against every other open file of the same name. The lock ends with the process.
func lockFile(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		default:
			return err
		}
	}
}
