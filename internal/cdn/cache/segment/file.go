package segment

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const nameSuffix = ".weirseg"

func fileName(dir string, number uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%08x%s", number, nameSuffix))
}

// numberOf returns the number that the name of a segment file says.
func numberOf(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, nameSuffix)
	if !ok || len(digits) != 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	return uint32(n), err == nil && name == fileName("", uint32(n))
}

// segment is one file of a store.
type segment struct {
	store *Store
	head  fileHead
	file  File
	fd    uintptr
	// pins counts regions, and acquisitions on their way to one. Only closing looks at it.
	pins atomic.Int64
	// lost says that the file could not be synced: what the page cache holds may vanish at any time.
	lost atomic.Bool

	mapping atomic.Pointer[[]byte]
	mapLock sync.Mutex // of making the mapping

	// Guarded by Store.mu.
	free    runs  // what can be written to
	room    int64 // bytes of free
	cursor  int64 // where the next record is looked for a place for
	holds   int   // records that are not given back, and work that needs the file
	writers int   // records being written
	wasted  int64 // bytes of dropped records that could not be given back
	dirty   bool  // written to since it was synced
	gone    bool  // to be unlinked, or unlinked
	closed  bool
}

// place finds room for size bytes. Called with Store.mu held, as are all that follow.
func (g *segment) place(size int64) (int64, bool) {
	i := g.free.fits(g.cursor, size)
	if i < 0 {
		return 0, false
	}
	offset := g.free.take(i, size)
	g.cursor = offset + size
	g.room -= size
	return offset, true
}

func (g *segment) giveBack(r run) {
	g.free.add(r)
	g.room += r.n
}

// mapFile maps the file unless that has been done.
func (g *segment) mapFile() error {
	g.mapLock.Lock()
	defer g.mapLock.Unlock()
	if g.mapping.Load() != nil {
		return nil
	}
	m, err := g.file.Map(g.head.size)
	if err == nil {
		g.mapping.Store(&m)
	}
	return err
}

// close unmaps and closes the file. Nobody reads it any more.
func (g *segment) close() error {
	g.mapLock.Lock()
	defer g.mapLock.Unlock()
	var err error
	if m := g.mapping.Swap(nil); m != nil {
		err = g.file.Unmap(*m)
	}
	return errors.Join(err, g.file.Close())
}
