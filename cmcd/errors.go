package cmcd

import "errors"

var (
	// ErrNoKeys says that a record has not one usable key.
	ErrNoKeys = errors.New("cmcd: no usable key in the record")
	// ErrVersion says that a record is of a version above 2 and must be ignored as a whole (§6).
	ErrVersion = errors.New("cmcd: version of the record is not known")
)
