package bus

import "errors"

// ErrStopped says that the bus has come to its end and takes no more records.
var ErrStopped = errors.New("the bus has stopped")
