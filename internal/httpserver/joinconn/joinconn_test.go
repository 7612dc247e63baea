package joinconn_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/httpserver/joinconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// below records what reaches the kernel. While its gate is shut, writes wait for it or for their deadline.
type below struct {
	net.Conn
	mu       sync.Mutex
	writes   [][]byte
	gate     chan struct{}
	fail     error
	deadline time.Time
	changed  chan struct{} // closed and replaced when the deadline changes
	closed   bool
}

func newBelow() *below {
	open := make(chan struct{})
	close(open)
	return &below{gate: open, changed: make(chan struct{})}
}

func (b *below) shut() (open func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gate := make(chan struct{})
	b.gate = gate
	return sync.OnceFunc(func() { close(gate) })
}

func (b *below) Write(p []byte) (int, error) {
	for {
		b.mu.Lock()
		gate, changed, deadline := b.gate, b.changed, b.deadline
		b.mu.Unlock()
		var late <-chan time.Time
		if !deadline.IsZero() {
			late = time.After(time.Until(deadline))
		}
		select {
		case <-gate:
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.fail != nil {
				return 0, b.fail
			}
			b.writes = append(b.writes, bytes.Clone(p))
			return len(p), nil
		case <-late:
			return 0, os.ErrDeadlineExceeded
		case <-changed:
		}
	}
}

func (b *below) SetWriteDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

func (b *below) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

func (b *below) sizes() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	var sizes []int
	for _, w := range b.writes {
		sizes = append(sizes, len(w))
	}
	return sizes
}

func (b *below) all() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Join(b.writes, nil)
}

const record = 16<<10 + 22

func records(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = bytes.Repeat([]byte{byte(i + 1)}, record)
	}
	return all
}

func write(t *testing.T, c net.Conn, pieces ...[]byte) {
	t.Helper()
	for _, p := range pieces {
		if n, err := c.Write(p); n != len(p) || err != nil {
			t.Fatalf("Write of %d bytes: %d, %v", len(p), n, err)
		}
	}
}

func TestWhatIsHeldIsJoined(t *testing.T) {
	for _, test := range []struct {
		name    string
		records int
		writes  int
	}{{"nothing", 0, 0}, {"one record", 1, 1}, {"100 KB", 6, 1}, {"1 MB", 64, 5}} {
		t.Run(test.name, func(t *testing.T) {
			b := newBelow()
			c := joinconn.NewBuffers().New(b)
			c.Hold()
			write(t, c, records(test.records)...)
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			sizes := b.sizes()
			if len(sizes) != test.writes {
				t.Errorf("%d writes of %v, want %d", len(sizes), sizes, test.writes)
			}
			for _, size := range sizes {
				if size > joinconn.HeldBytes {
					t.Errorf("a write of %d bytes", size)
				}
			}
			if !bytes.Equal(b.all(), bytes.Join(records(test.records), nil)) {
				t.Error("the bytes are others")
			}
		})
	}
}

func TestWithoutHoldWritesPass(t *testing.T) {
	b := newBelow()
	c := joinconn.NewBuffers().New(b)
	write(t, c, []byte("a"), []byte("b"))
	c.Hold()
	write(t, c, []byte("c"), []byte("d"))
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	write(t, c, []byte("e"), bytes.Repeat([]byte("f"), 2*joinconn.HeldBytes))
	if got, want := b.sizes(), []int{1, 1, 2, 1, 2 * joinconn.HeldBytes}; !equal(got, want) {
		t.Errorf("writes %v, want %v", got, want)
	}
}

// Who writes a head and a body holds for both, and who writes the body for its records.
func TestHoldsNest(t *testing.T) {
	b := newBelow()
	c := joinconn.NewBuffers().New(b)
	c.Hold()
	write(t, c, []byte("head "))
	c.Hold()
	write(t, c, []byte("body "))
	if err := c.Flush(); err != nil || len(b.sizes()) != 0 {
		t.Errorf("the inner Flush: %v, %q was sent", err, b.all())
	}
	write(t, c, []byte("end"))
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = c.Flush() // one too many
	c.Hold()
	write(t, c, []byte("!"))
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := b.sizes(), []int{13, 1}; !equal(got, want) {
		t.Errorf("writes %v, want %v", got, want)
	}
}

func TestAfterAnErrorNothingIsSent(t *testing.T) {
	b := newBelow()
	b.fail = io.ErrClosedPipe
	c := joinconn.NewBuffers().New(b)
	c.Hold()
	write(t, c, []byte("lost"))
	if err := c.Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Fatalf("Flush: %v", err)
	}
	b.fail = nil
	if _, err := c.Write([]byte("more")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Write after it: %v", err)
	}
	c.Hold()
	if _, err := c.Write([]byte("more")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Write after it, held: %v", err)
	}
	if len(b.sizes()) != 0 {
		t.Errorf("%q was sent", b.all())
	}
}

func TestInTheBackgroundWritesAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelow()
		c := joinconn.NewBuffers().New(b)
		c.Background()
		open := b.shut()
		write(t, c, []byte("first "))
		synctest.Wait() // its goroutine waits for the kernel
		write(t, c, []byte("second "), []byte("third"))
		open()
		synctest.Wait()
		if got, want := b.sizes(), []int{6, 12}; !equal(got, want) {
			t.Errorf("writes %v, want %v", got, want)
		}
		if got := string(b.all()); got != "first second third" {
			t.Errorf("got %q", got)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestInTheBackgroundMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelow()
		c := joinconn.NewBuffers().New(b)
		c.Background()
		open := b.shut()
		written := make(chan error)
		taken := 0
		go func() {
			for range 1000 {
				if _, err := c.Write(make([]byte, record)); err != nil {
					written <- err
					return
				}
				taken += record
			}
			written <- nil
		}()
		synctest.Wait() // the writer waits for the kernel as well
		if most := 2 * (joinconn.PendingBytes + record); taken > most {
			t.Errorf("%d bytes are pending, want %d at most", taken, most)
		}
		open()
		if err := <-written; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := len(b.all()); got != 1000*record {
			t.Errorf("%d bytes were sent, want %d", got, 1000*record)
		}
		for _, size := range b.sizes() {
			if size > joinconn.PendingBytes+record {
				t.Errorf("a write of %d bytes", size)
			}
		}
		_ = c.Close()
	})
}

func TestInTheBackgroundErrorsSurface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelow()
		b.fail = io.ErrClosedPipe
		c := joinconn.NewBuffers().New(b)
		c.Background()
		write(t, c, []byte("lost"))
		synctest.Wait()
		if _, err := c.Write([]byte("more")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the next Write: %v", err)
		}
		if err := c.Close(); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestCloseSendsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelow()
		c := joinconn.NewBuffers().New(b)
		c.Background()
		open := b.shut()
		write(t, c, []byte("one "))
		synctest.Wait()
		write(t, c, []byte("two"))
		// As crypto/tls does when it closes: nothing may wait any more. What has been taken stays taken.
		_ = c.SetWriteDeadline(time.Now())
		closed := make(chan error)
		go func() { closed <- c.Close() }()
		synctest.Wait()
		open()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if got := string(b.all()); got != "one two" || !b.closed {
			t.Errorf("sent %q, closed %v", got, b.closed)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("a Write after Close")
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second Close: %v", err)
		}
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelow()
		c := joinconn.NewBuffers().New(b)
		c.Background()
		b.shut()
		write(t, c, []byte("never"))
		synctest.Wait()
		begun := time.Now()
		if err := c.Close(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(begun); took != joinconn.CloseTimeout || !b.closed {
			t.Errorf("Close took %v, closed %v", took, b.closed)
		}
	})
}

func TestDeadlinesOfWritesInTheBackground(t *testing.T) {
	fill := func(c net.Conn) error {
		for {
			if _, err := c.Write(make([]byte, record)); err != nil {
				return err
			}
		}
	}
	for _, test := range []struct {
		name string
		set  func(c net.Conn)
	}{
		{"set before", func(c net.Conn) { _ = c.SetWriteDeadline(time.Now().Add(time.Second)) }},
		{"both directions", func(c net.Conn) { _ = c.SetDeadline(time.Now().Add(time.Second)) }},
		{"set while it waits", func(c net.Conn) {
			time.AfterFunc(time.Second, func() { _ = c.SetWriteDeadline(time.Now()) })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBelow()
				c := joinconn.NewBuffers().New(readDeadline{b})
				c.Background()
				b.shut()
				begun := time.Now()
				test.set(c)
				if err := fill(c); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the write that waited: %v", err)
				}
				if took := time.Since(begun); took != time.Second {
					t.Errorf("it took %v", took)
				}
				_ = c.Close()
			})
		})
	}
}

type readDeadline struct{ *below }

func (readDeadline) SetReadDeadline(time.Time) error { return nil }

func TestADeadlineThatHasPassedForbidsWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelow()
		c := joinconn.NewBuffers().New(b)
		c.Background()
		_ = c.SetWriteDeadline(time.Now().Add(-time.Second))
		if _, err := c.Write([]byte("late")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v", err)
		}
		_ = c.SetWriteDeadline(time.Time{})
		write(t, c, []byte("again"))
		synctest.Wait()
		if got := string(b.all()); got != "again" {
			t.Errorf("sent %q", got)
		}
		_ = c.Close()
	})
}

// The writer of an answer and the reader that answers a key update write at the same time.
func TestConcurrentUse(t *testing.T) {
	for _, mode := range []string{"held", "background"} {
		t.Run(mode, func(t *testing.T) {
			b := newBelow()
			c := joinconn.NewBuffers().New(b)
			if mode == "background" {
				c.Background()
			}
			var writers sync.WaitGroup
			for i := range 4 {
				writers.Go(func() {
					for range 200 {
						c.Hold()
						if _, err := c.Write(bytes.Repeat([]byte{byte(i)}, 1000)); err != nil {
							t.Error(err)
						}
						if err := c.Flush(); err != nil {
							t.Error(err)
						}
					}
				})
			}
			writers.Wait()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			counts := map[byte]int{}
			all := b.all()
			for len(all) >= 1000 {
				if bytes.Count(all[:1000], all[:1]) != 1000 {
					t.Fatal("two writes are mixed")
				}
				counts[all[0]]++
				all = all[1000:]
			}
			for i := range byte(4) {
				if counts[i] != 200 {
					t.Errorf("writer %d: %d of 200 writes were sent", i, counts[i])
				}
			}
		})
	}
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
