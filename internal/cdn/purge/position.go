package purge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// position is how far a node has applied the log. That the log is still the same one is seen by when it
// was made, and by the ID of the message at this place: a server that lost its last messages gives their
// numbers to others.
type position struct {
	Log      int64  `json:"log"`
	Sequence uint64 `json:"sequence"`
	ID       string `json:"id"`
}

// keeper remembers the position on disk. It may be behind what was applied, and is never ahead of it: what
// is applied twice does no harm. Writes are gathered; a purge does not wait for the disk.
type keeper struct {
	dir  string
	home string // the folder, by an ID that no other has
	lock *os.File

	mu      sync.Mutex
	latest  position
	written position
	writing sync.Mutex // held while the file is written
}

const (
	positionFile = "position.json"
	lockFile     = "lock"
	homeFile     = "home"
)

// openKeeper reads what is remembered in dir, the zero position if that is nothing; "" remembers nothing.
// A file that cannot be understood is nothing: the node then purges everything.
func openKeeper(dir string) (*keeper, error) {
	k := &keeper{dir: dir, home: uuid.NewString()}
	if dir == "" {
		return k, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	if err := k.settle(); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(filepath.Join(dir, positionFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if json.Unmarshal(content, &k.latest) != nil {
			k.latest = position{}
		}
	}
	k.written = k.latest
	return k, nil
}

// settle gives the folder an ID, if it has none.
func (k *keeper) settle() error {
	name := filepath.Join(k.dir, homeFile)
	f, err := os.CreateTemp(k.dir, homeFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(k.home + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// There as a whole or not at all, and another process may be quicker.
	if err := os.Link(f.Name(), name); err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	id, err := uuid.ParseBytes(bytes.TrimSpace(content))
	if err != nil {
		return fmt.Errorf("%s is not the ID of a folder (%w); it may be removed when nothing runs here", name, err)
	}
	k.home = id.String()
	return nil
}

// own tries to make the folder this process's own, and reports whether it is. It is not as long as the
// process lives whose place this one is taking; that one goes on writing.
func (k *keeper) own() bool {
	if k.dir == "" {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lock != nil {
		return true
	}
	f, err := os.OpenFile(filepath.Join(k.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		_ = f.Close()
		return false
	}
	k.lock = f
	return true
}

// set takes note of a position that a later flush writes.
func (k *keeper) set(p position) {
	k.mu.Lock()
	k.latest = p
	k.mu.Unlock()
}

// flush writes the latest position, if it is not written yet and the folder is this process's own.
func (k *keeper) flush() error {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	p, idle := k.latest, k.dir == "" || k.lock == nil || k.latest == k.written
	k.mu.Unlock()
	if idle {
		return nil
	}
	if err := writePosition(k.dir, p); err != nil {
		return fmt.Errorf("remember what was purged: %w", err)
	}
	k.mu.Lock()
	k.written = p
	k.mu.Unlock()
	return nil
}

// writePosition replaces the file as a whole: after a power failure there is the old one or the new one.
func writePosition(dir string, p position) error {
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, positionFile)
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(content, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// close writes what is not written and gives the folder back.
func (k *keeper) close() error {
	err := k.flush()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lock != nil {
		err = errors.Join(err, k.lock.Close())
		k.lock = nil
	}
	return err
}
