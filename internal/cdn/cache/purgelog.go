package cache

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weir-stream/weir/internal/cdn"
)

// maxPurgeLog is the size above which the list of purges begins anew when the program starts.
const maxPurgeLog = 64 << 20

// purgeLog remembers purges over a restart, a line each. An object on disk carries the generation of purges
// at which it was asked for, so what has been purged since is known when it is taken over.
type purgeLog struct {
	file *os.File
	size int64
}

// purgeLine is a line of the list: a purge, or the floor below which the list knows nothing.
type purgeLine struct {
	Generation uint64     `json:"generation"`
	Floor      bool       `json:"floor,omitempty"`
	Purge      *cdn.Purge `json:"purge,omitempty"`
}

// openPurges reads the list in the folder. A line that was torn at its end was of a purge that nobody has
// been told of.
func openPurges(dir string) (*purges, error) {
	name := filepath.Join(dir, "purges")
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the list of purges: %w", err)
	}
	p := newPurges(nil, 0)
	whole := 0
	for line := range bytes.Lines(data) {
		var l purgeLine
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &l) != nil || l.Purge == nil && !l.Floor {
			break
		}
		whole += len(line)
		if l.Floor {
			p.floor = l.Generation
			p.generation.Store(l.Generation)
			continue
		}
		p.add(*l.Purge, l.Generation)
	}
	if whole < len(data) && bytes.IndexByte(data[whole:], '\n') >= 0 && whole+bytes.IndexByte(data[whole:], '\n')+1 < len(data) {
		// Not the end but the middle is broken: what the rest said is unknown, so nothing older counts.
		p.generation.Add(1 << 32)
		p.floor = p.sequence()
	}
	if p.floor == p.sequence() && p.floor > 0 || len(data) > maxPurgeLog {
		p.floor = p.sequence()
		return p, p.begin(name)
	}
	return p, p.open(name, int64(whole))
}

// open goes on with the list whose first bytes are whole.
func (p *purges) open(name string, whole int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err != nil {
		return fmt.Errorf("the list of purges: %w", err)
	}
	p.log = &purgeLog{file: f, size: whole}
	return nil
}

// begin begins a list that knows nothing but its floor.
func (p *purges) begin(name string) error {
	line, err := json.Marshal(purgeLine{Generation: p.floor, Floor: true})
	if err != nil {
		return fmt.Errorf("the list of purges: %w", err)
	}
	line = append(line, '\n')
	if err := writeSynced(name+".new", line); err != nil {
		return fmt.Errorf("the list of purges: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("the list of purges: %w", err)
	}
	return p.open(name, int64(len(line)))
}

func writeSynced(name string, data []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	_, err = w.Write(data)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// append writes a purge to the disk, where it is when it returns.
func (l *purgeLog) append(generation uint64, x cdn.Purge) error {
	if l == nil {
		return nil
	}
	before := l.size
	if err := l.write(generation, x); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		l.size = before // what was written of it is overwritten by the next
		return fmt.Errorf("the list of purges: %w", err)
	}
	return nil
}

// write writes a purge to the file.
func (l *purgeLog) write(generation uint64, x cdn.Purge) error {
	if l == nil {
		return nil
	}
	line, err := json.Marshal(purgeLine{Generation: generation, Purge: &x})
	if err != nil {
		return err
	}
	n, err := l.file.WriteAt(append(line, '\n'), l.size)
	if err != nil {
		return fmt.Errorf("the list of purges: %w", err)
	}
	l.size += int64(n)
	return nil
}

func (l *purgeLog) close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}
