package purge

import "errors"

var (
	// ErrInvalid is a purge that cannot be; nobody has applied it.
	ErrInvalid = errors.New("invalid purge")
	// ErrNotStored is a purge that the bus has not taken in time, or not said so: who has applied it is
	// not known. To ask again with the same ID is safe.
	ErrNotStored = errors.New("the purge was not stored")
	// ErrNotApplied is a purge that this node, which has no bus, could not apply.
	ErrNotApplied = errors.New("the purge was not applied")

	errGap      = errors.New("messages of the log are missing")
	errSilent   = errors.New("the log has fallen silent")
	errRunning  = errors.New("Run was called twice")
	errCaughtUp = errors.New("caught up") // ends a session that was only to catch up
)
