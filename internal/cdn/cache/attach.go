package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache/policy"
	"github.com/weir-stream/weir/internal/cdn/cache/segment"
)

// A folder belongs to one process at a time. One that is about to be replaced lets go of it, and its successor opens
// it; if nothing comes of that, the first opens it again. Meanwhile each goes on with what it has in memory.

// maxPending bounds the purges that are remembered while there is no folder to write them to. After more than that
// everything in it is purged.
const maxPending = 10_000

// Open opens the folder and takes over what is there. The error is [segment.ErrLocked] if another process has the
// folder, or still reads from it. It does nothing if the folder is open, or if there is none.
func (c *Cache) Open() error {
	c.attaching.Lock()
	defer c.attaching.Unlock()
	if c.dir == "" || c.disk.Load() != nil {
		return nil
	}
	if err := c.attach(); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	select {
	case c.attached <- struct{}{}:
	default:
	}
	return nil
}

// attach is Open with attaching held.
func (c *Cache) attach() error {
	started := time.Now()
	if err := os.MkdirAll(c.dir, 0o750); err != nil {
		return err
	}
	t := &tier{
		queue: make(chan *Object, maxWaiting), policy: policy.New(policy.Settings{CapacityBytes: c.cfg.DiskBytes}),
		registered: registrations{to: c.registerer},
	}
	t.running, t.stop = context.WithCancel(context.Background())
	var err error
	if t.store, err = segment.Open(segment.Settings{
		Dir: filepath.Join(c.dir, "segments"), CapacityBytes: c.cfg.DiskBytes + c.cfg.SegmentBytes, SegmentBytes: c.cfg.SegmentBytes,
		Log: c.log, Registerer: t.registered.registerer(), FS: c.fs,
	}); err != nil {
		t.stop()
		t.registered.undo()
		return err
	}
	found := t.found()
	if err := c.purges.attach(c.dir, found.generation); err != nil {
		t.stop()
		t.registered.undo()
		return errors.Join(err, t.store.Close())
	}
	for _, r := range found.records {
		if !c.takeOver(t, r.ref, r.record) {
			t.store.Drop(r.ref)
			found.given++
		}
	}
	c.disk.Store(t)
	c.log.Info("objects taken over from disk", "kept", len(found.records)+found.foreign-found.given, "given_up", found.given, "after", time.Since(started))
	return nil
}

// found is what is in a folder.
type found struct {
	records        []foundRecord // the newest last
	generation     uint64        // the latest of theirs
	given, foreign int           // those that cannot be understood, and are in given too
}

type foundRecord struct {
	ref segment.Ref
	record
}

func (t *tier) found() found {
	var f found
	t.store.Recovered(func(ref segment.Ref, meta []byte) bool {
		r := foundRecord{ref: ref}
		if err := json.Unmarshal(meta, &r.record); err != nil || r.Key == "" {
			t.store.Drop(ref)
			f.given++
			f.foreign++
			return true
		}
		f.generation = max(f.generation, r.Generation)
		f.records = append(f.records, r)
		return true
	})
	return f
}

// LetGo closes the folder, so that another process can open it. What is on disk only is no longer found here, and
// stays there; who reads it reads on, and as long as that takes the folder stays locked. It does nothing if the folder
// is not open.
func (c *Cache) LetGo() error {
	c.attaching.Lock()
	defer c.attaching.Unlock()
	t := c.disk.Swap(nil)
	if t == nil {
		return nil
	}
	t.stop()
	t.writing.Lock() // Run has ended with this one, or has not begun
	t.drain(c)
	t.gone.Store(true)
	t.writing.Unlock()
	t.drain(c) // of what is not to be written any more
	err := c.purges.detach(c.dir)
	for i := range c.shards {
		s := &c.shards[i]
		var out []*Body
		s.mu.Lock()
		for key, e := range s.index {
			for j := len(e.variants) - 1; j >= 0; j-- {
				o := e.variants[j]
				if b := o.backup; b != nil && b.tier == t {
					out, o.backup = append(out, b), nil
				}
				if o.body.tier == t {
					out = append(out, o.body)
					e.drop(s, key, o)
				}
			}
		}
		s.mu.Unlock()
		for _, b := range out {
			b.release()
		}
	}
	t.registered.undo()
	if closing := t.store.Close(); closing != nil {
		c.log.Info("the folder of the cache is let go, but still read from", "reason", closing)
	}
	return err
}

// Attached reports whether the folder is open.
func (c *Cache) Attached() bool { return c.disk.Load() != nil }

// registrations are collectors that go with what they measure.
type registrations struct {
	to  prometheus.Registerer // nil: nothing is measured
	all []prometheus.Collector
}

// registerer returns r, nil if nothing is measured.
func (r *registrations) registerer() prometheus.Registerer {
	if r.to == nil {
		return nil
	}
	return r
}

func (r *registrations) Register(c prometheus.Collector) error {
	if err := r.to.Register(c); err != nil {
		return err
	}
	r.all = append(r.all, c)
	return nil
}

func (r *registrations) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

func (r *registrations) Unregister(c prometheus.Collector) bool { return r.to.Unregister(c) }

// undo takes all collectors back.
func (r *registrations) undo() {
	for _, c := range r.all {
		r.to.Unregister(c)
	}
	r.all = nil
}

// detach leaves the list of purges. Those that come are remembered until there is a list to write them to again, by
// this process and, in a file of their own, for another: whoever opens the folder next does not hear of them otherwise
// if this process has confirmed them.
func (p *purges) detach(dir string) error {
	p.order.Lock()
	defer p.order.Unlock()
	log := p.log
	p.log = nil
	p.detached.Store(true)
	spill, err := os.OpenFile(filepath.Join(dir, spillFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		err = fmt.Errorf("the list of purges for the next process: %w", err)
	}
	p.spill = spill
	return errors.Join(err, log.close())
}

// spillFile has the purges that came to a process while it had not the folder.
const spillFile = "purges.pending"

// spilled returns what other processes have been told to purge while they had not the folder.
func spilled(dir string) ([]cdn.Purge, error) {
	data, err := os.ReadFile(filepath.Join(dir, spillFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the list of purges of the process before: %w", err)
	}
	var all []cdn.Purge
	for line := range bytes.Lines(data) {
		var x cdn.Purge
		switch {
		case json.Unmarshal(line, &x) == nil && x.Validate() == nil && len(all) < maxPending:
			all = append(all, x)
		case bytes.HasSuffix(line, []byte("\n")):
			return []cdn.Purge{{Scope: cdn.PurgeAll}}, nil // what it said is not known
		}
		// A line that was torn at its end was of a purge that nobody has been told of.
	}
	return all, nil
}

// attach goes on with the list in the folder. All that is in the folder, the latest of generation latest, is held
// against what has been purged since the list was left. Numbers only grow: so what is in memory may be held against
// a purge that it is younger than, and never the other way round.
func (p *purges) attach(dir string, latest uint64) error {
	q, err := openPurges(dir)
	if err != nil {
		return err
	}
	p.order.Lock()
	defer p.order.Unlock()
	others, err := spilled(dir)
	if err != nil {
		return errors.Join(err, q.log.close())
	}
	pending := slices.Concat(others, p.pending)
	generation := max(p.sequence(), q.sequence(), latest)
	p.merge(q, generation)
	var errs []error
	for _, x := range pending {
		generation++
		errs = append(errs, q.log.write(generation, x))
		p.add(x, generation)
	}
	if len(pending) > 0 {
		errs = append(errs, q.log.file.Sync())
	}
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, q.log.close())
	}
	_ = os.Remove(filepath.Join(dir, spillFile)) // to purge once more does no harm
	if p.spill != nil {
		_ = p.spill.Close()
	}
	p.pending, p.spill = nil, nil
	p.log = q.log
	p.detached.Store(false)
	return nil
}

// merge adds what q knows, and raises the generation.
func (p *purges) merge(q *purges, generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	later := func(m *mark, other mark) { m.hard, m.soft = max(m.hard, other.hard), max(m.soft, other.soft) }
	for _, marks := range []struct{ to, from map[string]mark }{{p.urls, q.urls}, {p.prefixes, q.prefixes}, {p.tags, q.tags}} {
		for target, other := range marks.from {
			m := marks.to[target]
			later(&m, other)
			marks.to[target] = m
		}
	}
	later(&p.all, q.all)
	later(&p.anyTag, q.anyTag)
	p.floor = max(p.floor, q.floor)
	clear(p.lengths)
	for prefix := range p.prefixes {
		p.lengths[len(prefix)]++
	}
	p.generation.Store(generation)
}

// abandon closes what detach has opened.
func (p *purges) abandon() error {
	p.order.Lock()
	defer p.order.Unlock()
	if p.spill == nil {
		return nil
	}
	spill := p.spill
	p.spill = nil
	return spill.Close()
}

// pend remembers a purge while the folder is not open. Called with order held.
func (p *purges) pend(x cdn.Purge) error {
	if !p.detached.Load() {
		return nil
	}
	if p.spill != nil {
		line, err := json.Marshal(x)
		if err == nil {
			_, err = p.spill.Write(append(line, '\n'))
		}
		if err == nil {
			err = p.spill.Sync()
		}
		if err != nil {
			return fmt.Errorf("the list of purges for the next process: %w", err)
		}
	}
	if len(p.pending) >= maxPending {
		p.pending = []cdn.Purge{{Scope: cdn.PurgeAll}}
	}
	p.pending = append(p.pending, x)
	return nil
}
