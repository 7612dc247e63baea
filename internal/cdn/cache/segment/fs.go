package segment

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// FS is what a store needs of a file system. Tests put one in that fails.
type FS interface {
	// List returns the names of what is in dir.
	List(dir string) ([]string, error)
	// Open opens a file to read and write. With create, it must not exist yet.
	Open(name string, create bool) (File, error)
	Remove(name string) error
	// Lock makes the folder unless it is there, and locks it until the lock is closed. It returns
	// [ErrLocked] if it is locked.
	Lock(dir string) (io.Closer, error)
}

// File is an open file of an [FS]. Reading and writing do not move its position.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	// Punch gives the blocks of a range back to the file system; it reads as zeros from then on.
	// It returns errors.ErrUnsupported where that cannot be done.
	Punch(offset, n int64) error
	// NextData returns the first offset from this one on that may hold anything but a hole, and io.EOF
	// if only a hole follows.
	NextData(offset int64) (int64, error)
	// Map maps the first bytes of the file for reading. It returns errors.ErrUnsupported where that
	// cannot be done; bodies are then read into memory.
	Map(size int64) ([]byte, error)
	Unmap(mapping []byte) error
	Fd() uintptr
}

// OS returns the file system of the operating system, which a store uses unless told otherwise.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (osFS) Open(name string, create bool) (File, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(name, flag, 0o640)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) Lock(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

// osFile has what is the same on all systems; the rest is in fs_linux.go and fs_portable.go.
type osFile struct{ *os.File }
