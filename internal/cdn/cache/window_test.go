package cache

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestObjectThatOutgrowsTheCacheIsAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 2 * chunkBytes
		c := newCache(t, func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = 4<<20, most })
		body := random(20 * chunkBytes)
		fill := lead(t, c, "k", noon)
		second := get(c, "k", noon)
		o, err := fill.Store(head(-1, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		source := &countingReader{r: bytes.NewReader(body)}
		filled := make(chan error, 1)
		go func() { filled <- o.FillFrom(t.Context(), source) }()
		synctest.Wait()
		if source.n > most+2*chunkBytes {
			t.Errorf("%d bytes were read for nobody, the bound is %d", source.n, most+2*chunkBytes)
		}
		if c.Len() != 0 {
			t.Error("it can still be found")
		}
		// Both who asked before get all of it, the second later than the first.
		slow := make(chan struct{})
		var readers sync.WaitGroup
		readers.Go(func() {
			got, err := readAll(t.Context(), o.Open(0, -1))
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("first: %d bytes, %v", len(got), err)
			}
			o.Release()
		})
		readers.Go(func() {
			out, err := second.Fill.Wait(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			<-slow
			got, err := readAll(t.Context(), out.Object.Open(0, -1))
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("second: %d bytes, %v", len(got), err)
			}
			out.Object.Release()
		})
		synctest.Wait()
		if source.n > most+3*chunkBytes {
			t.Errorf("%d bytes were read before the slowest reader began", source.n)
		}
		close(slow)
		readers.Wait()
		if err := <-filled; err != nil {
			t.Errorf("FillFrom = %v", err)
		}
		if c.Used() != 0 {
			t.Errorf("%d bytes are still charged", c.Used())
		}
	})
}

func TestWindowThatNobodyReadsEndsItsFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = 4<<20, chunkBytes })
		o, err := lead(t, c, "k", noon).Store(head(-1, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		filled := make(chan error, 1)
		go func() { filled <- o.FillFrom(t.Context(), bytes.NewReader(random(20*chunkBytes))) }()
		synctest.Wait()
		o.Release()
		if err := <-filled; !errors.Is(err, errNoReaders) {
			t.Errorf("FillFrom = %v", err)
		}
		if c.Used() != 0 {
			t.Errorf("%d bytes are still charged", c.Used())
		}
	})
}

// Who has the object and is not going to read it does not hold up those who do.
func TestWindowDoesNotWaitForWhoIsNotGoingToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = 4<<20, chunkBytes })
		o, err := lead(t, c, "k", noon).Store(head(-1, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		body := random(20 * chunkBytes)
		filled := make(chan error, 1)
		go func() { filled <- o.FillFrom(t.Context(), bytes.NewReader(body)) }()
		synctest.Wait()
		o.Retain() // for the other
		var other sync.WaitGroup
		other.Go(func() {
			defer o.Release()
			got, err := readAll(t.Context(), o.Open(0, -1))
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
		synctest.Wait()
		end := o.SetAside()
		other.Wait()
		end()
		o.Release()
		if err := <-filled; err != nil {
			t.Errorf("FillFrom = %v", err)
		}
		if c.Used() != 0 {
			t.Errorf("%d bytes are still charged", c.Used())
		}
	})
}

// A window that is held only by who is not going to read it is read by nobody.
func TestWindowThatIsOnlySetAsideEndsItsFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = 4<<20, chunkBytes })
		o, err := lead(t, c, "k", noon).Store(head(-1, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		filled := make(chan error, 1)
		go func() { filled <- o.FillFrom(t.Context(), bytes.NewReader(random(20*chunkBytes))) }()
		synctest.Wait()
		end := o.SetAside()
		if err := <-filled; !errors.Is(err, errNoReaders) {
			t.Errorf("FillFrom = %v", err)
		}
		end()
		o.Release()
	})
}

// Who reads a window does not wait until the origin has said whether it is unchanged.
func TestWindowGoesOnWhileItIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, func(cfg *Config) { cfg.CapacityBytes, cfg.MaxObjectBytes = 4<<20, chunkBytes })
		o, err := lead(t, c, "k", noon).Store(head(-1, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		body := random(20 * chunkBytes)
		source, more := io.Pipe()
		filled := make(chan error, 1)
		go func() { filled <- o.FillFrom(t.Context(), source) }()
		if _, err := more.Write(body[:1000]); err != nil {
			t.Fatal(err)
		}
		renewal := lead(t, c, "k", noon.Add(2*time.Minute))
		if renewal.Stale() == nil {
			t.Fatal("the renewal has no object")
		}
		waits := get(c, "k", noon.Add(2*time.Minute))
		go func() {
			_, _ = more.Write(body[1000:])
			_ = more.Close()
		}()
		got, err := readAll(t.Context(), o.Open(0, -1))
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		o.Release()
		if err := <-filled; err != nil {
			t.Errorf("FillFrom = %v", err)
		}
		renewal.Fail(errors.New("the origin is away"), nil, noon.Add(2*time.Minute))
		for range 2 { // who leads, and who waits
			if out, err := waits.Fill.Wait(t.Context()); err != nil || out.Object != nil || out.Err == nil {
				t.Errorf("Wait = %+v, %v; want the error of the origin", out, err)
			}
		}
		if c.Used() != 0 {
			t.Errorf("%d bytes are still charged", c.Used())
		}
	})
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}
