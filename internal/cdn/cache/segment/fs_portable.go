//go:build !linux

package segment

import "errors"

func (f *osFile) Punch(_, _ int64) error { return errors.ErrUnsupported }

func (f *osFile) NextData(offset int64) (int64, error) { return offset, nil }

func (f *osFile) Map(int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func (f *osFile) Unmap([]byte) error { return nil }
