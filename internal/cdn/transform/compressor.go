package transform

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	// ErrNoGain is a body that would not become smaller.
	ErrNoGain = errors.New("the encoded body is not smaller")
	// ErrTooLarge is a body that is larger, decoded, than it may be.
	ErrTooLarge = errors.New("the decoded body is too large")

	errEnded = errors.New("transform: the stream has ended")
)

// Effort is how much time encoding may take.
type Effort int

// What encoding is for.
const (
	Dynamic Effort = iota // for one viewer, who waits
	Static                // once, to be kept for long; playlists are not
	efforts
)

// Settings are what a Compressor needs.
type Settings struct {
	Config     Config
	Registerer prometheus.Registerer
}

// Compressor encodes and decodes answers. It is safe for concurrent use.
type Compressor struct {
	config   Config
	types    types
	metrics  *metrics
	encoders [len(codings)][efforts]sync.Pool // of encoder
	bodies   sync.Pool                        // of *brotliBody, for Brotli and Dynamic
	zstds    sync.Pool                        // decoders
	gzips    sync.Pool
	brotlis  sync.Pool
}

// New returns a Compressor.
func New(s Settings) (*Compressor, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("transform: %w", err)
	}
	c := &Compressor{config: s.Config, types: newTypes(s.Config.Types)}
	if !c.config.Enabled {
		c.config.Encodings = nil
	}
	var err error
	if c.metrics, err = newMetrics(s.Registerer); err != nil {
		return nil, fmt.Errorf("transform: register metrics: %w", err)
	}
	return c, nil
}

// encoder is what the three libraries have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

const (
	windowBits  = 20 // of Static; more helps only bodies that are larger than text is
	dynamicBits = 18
)

// Levels by measurement: Dynamic is at 30 MB/s or more on one core, Static as dense as 10 MB/s allow.
func newEncoder(e Encoding, effort Effort) encoder {
	switch e {
	case Zstd:
		level, bits := zstd.SpeedDefault, dynamicBits
		if effort == Static {
			level, bits = zstd.SpeedBestCompression, windowBits
		}
		// Options that are constants are valid.
		w, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderLevel(level), zstd.WithWindowSize(1<<bits))
		return w
	case Brotli:
		if effort == Static {
			return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: 9, LGWin: windowBits})
		}
		return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: 3, LGWin: dynamicBits})
	default:
		level := 5
		if effort == Static {
			level = 8
		}
		w, _ := gzip.NewWriterLevel(nil, level)
		return w
	}
}

func (c *Compressor) pool(e Encoding, effort Effort) *sync.Pool {
	for i, known := range codings {
		if known == e {
			return &c.encoders[i][effort]
		}
	}
	return nil
}

// encoder returns an encoder that writes to w; release takes it back.
func (c *Compressor) encoder(w io.Writer, e Encoding, effort Effort) encoder {
	enc, ok := c.pool(e, effort).Get().(encoder)
	if !ok {
		enc = newEncoder(e, effort)
	}
	enc.Reset(w)
	return enc
}

func (c *Compressor) release(enc encoder, e Encoding, effort Effort) {
	enc.Reset(nil) // what was written to is not held
	c.pool(e, effort).Put(enc)
}

func (e Encoding) check() error {
	if e != Zstd && e != Brotli && e != Gzip {
		return fmt.Errorf("transform: the coding is %q; zstd, br or gzip is expected", string(e))
	}
	return nil
}

// Body appends src, encoded, to dst. The error is [ErrNoGain] if that would not be smaller than src; dst is
// then returned as it was.
func (c *Compressor) Body(dst, src []byte, e Encoding, effort Effort) ([]byte, error) {
	if err := e.check(); err != nil {
		return dst, err
	}
	out := appender{bytes: dst}
	var err error
	switch {
	case e == Brotli && effort == Dynamic:
		c.brotliBody(&out, src)
	default:
		enc := c.encoder(&out, e, effort)
		if whole, ok := enc.(*zstd.Encoder); ok {
			out.bytes = whole.EncodeAll(src, out.bytes) // with the length in the frame's header
		} else {
			_, err = enc.Write(src)
			err = errors.Join(err, enc.Close())
		}
		c.release(enc, e, effort)
	}
	if err != nil {
		return dst, fmt.Errorf("transform: encode with %s: %w", e, err)
	}
	size := len(out.bytes) - len(dst)
	if size >= len(src) {
		c.metrics.useless.WithLabelValues(string(e)).Inc()
		return dst, ErrNoGain
	}
	c.metrics.encoded(e, int64(len(src)), int64(size))
	return out.bytes, nil
}

// brotliBody encodes a whole body fast. The library's newer encoder is several times as fast at the same size
// or less, but cannot flush, so it is not for streams.
func (c *Compressor) brotliBody(out *appender, src []byte) {
	const level = 4
	type wholeWriter interface {
		io.WriteCloser
		Reset(w io.Writer)
	}
	w, ok := c.bodies.Get().(wholeWriter)
	if !ok {
		w = brotli.NewWriterV2(nil, level)
	}
	w.Reset(out)
	_, _ = w.Write(src) // an appender does not fail
	_ = w.Close()
	w.Reset(nil)
	c.bodies.Put(w)
}

// appender is a writer to memory.
type appender struct{ bytes []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.bytes = append(a.bytes, p...)
	return len(p), nil
}

// Writer encodes a stream. It is not safe for concurrent use.
type Writer struct {
	c       *Compressor
	coding  Encoding
	effort  Effort
	encoder encoder
	out     counter
	in      int64
}

// counter counts what goes through it.
type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// Writer returns a stream into w. Either Close or Abort ends it; neither closes w.
func (c *Compressor) Writer(w io.Writer, e Encoding, effort Effort) (*Writer, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	s := &Writer{c: c, coding: e, effort: effort, out: counter{Writer: w}}
	s.encoder = c.encoder(&s.out, e, effort)
	return s, nil
}

// Write encodes p. What comes out may be held back until Flush.
func (w *Writer) Write(p []byte) (int, error) {
	if w.encoder == nil {
		return 0, errEnded
	}
	n, err := w.encoder.Write(p)
	w.in += int64(n)
	return n, err
}

// Flush writes everything out that was written, as the source has when it flushes.
func (w *Writer) Flush() error {
	if w.encoder == nil {
		return errEnded
	}
	return w.encoder.Flush()
}

// Close writes the rest and the end of the stream.
func (w *Writer) Close() error {
	if w.encoder == nil {
		return nil
	}
	err := w.encoder.Close()
	w.end()
	return err
}

// Abort ends the stream without its end, so that the client can tell that something is missing.
func (w *Writer) Abort() {
	if w.encoder != nil {
		w.end()
	}
}

func (w *Writer) end() {
	w.c.release(w.encoder, w.coding, w.effort)
	w.encoder = nil
	w.c.metrics.encoded(w.coding, w.in, w.out.n)
}
