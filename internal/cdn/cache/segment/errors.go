package segment

import (
	"errors"
	"fmt"
)

// What can be wrong.
var (
	// ErrNoSpace says that a record would exceed the capacity: make room with Drop and try again.
	ErrNoSpace = errors.New("no space within the capacity")
	// ErrDisk says that the disk is full or broken. The store tries it again after a while by itself.
	ErrDisk = errors.New("disk failed")
	// ErrCorrupt says that a record is not what was written. It has been quarantined.
	ErrCorrupt = errors.New("record is corrupt")
	// ErrGone says that there is no such record: it was dropped, quarantined, or is another store's.
	ErrGone = errors.New("record is gone")
	// ErrTooLarge says that a record has more bytes than one may have.
	ErrTooLarge = errors.New("record is too large")
	// ErrClosed says that the store has been closed.
	ErrClosed = errors.New("store is closed")
	// ErrLocked says that another process, or another Store, uses the folder.
	ErrLocked = errors.New("folder is in use")
	// ErrVersion says that a file was written by a version of the program that this one does not know.
	ErrVersion = errors.New("unknown format version")
)

// FaultError says that memory which a file is mapped to could not be read.
type FaultError struct{ Addr uintptr }

// Error names the address.
func (e *FaultError) Error() string {
	return fmt.Sprintf("read of mapped memory at %#x failed: the file is shorter than its mapping, or its disk is broken", e.Addr)
}
