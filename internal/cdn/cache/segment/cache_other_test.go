//go:build !linux

package segment

import "errors"

func dropCaches(string) error { return errors.ErrUnsupported }
