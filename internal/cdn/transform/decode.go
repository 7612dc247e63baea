package transform

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what a zstd stream may make its reader hold: RFC 9659 §3.
const maxWindow = 8 << 20

// Reader returns what r holds in the coding e. A stream that ends too early ends with an error. Close does
// not close r, and nothing is to be read after it.
func (c *Compressor) Reader(r io.Reader, e Encoding) (io.ReadCloser, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	d := &decoded{c: c, coding: e, in: source{Reader: r}}
	switch e {
	case Zstd:
		dec, ok := c.zstds.Get().(*zstd.Decoder)
		if !ok {
			// Options that are constants are valid.
			dec, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		}
		if err := dec.Reset(&d.in); err != nil {
			return nil, fmt.Errorf("transform: decode zstd: %w", err)
		}
		d.Reader, d.release = dec, func() {
			if dec.Reset(nil) == nil {
				c.zstds.Put(dec)
			}
		}
	case Brotli:
		dec, ok := c.brotlis.Get().(*brotli.Reader)
		if !ok {
			dec = brotli.NewReader(nil)
		}
		if err := dec.Reset(&d.in); err != nil {
			return nil, fmt.Errorf("transform: decode br: %w", err)
		}
		d.Reader, d.release = dec, func() {
			if dec.Reset(nil) == nil {
				c.brotlis.Put(dec)
			}
		}
	default:
		dec, ok := c.gzips.Get().(*gzip.Reader)
		if !ok {
			dec = new(gzip.Reader)
		}
		// Its head is read by the first Read, so that nothing blocks here.
		d.Reader, d.release = &gzipReader{Reader: dec, source: &d.in}, func() { c.gzips.Put(dec) }
	}
	return d, nil
}

// gzipReader reads the head late.
type gzipReader struct {
	*gzip.Reader
	source io.Reader
	begun  bool
	err    error
}

func (g *gzipReader) Read(p []byte) (int, error) {
	if !g.begun {
		g.begun = true
		if g.err = g.Reset(g.source); errors.Is(g.err, io.EOF) {
			g.err = io.ErrUnexpectedEOF // nothing is no stream
		}
	}
	if g.err != nil {
		return 0, g.err
	}
	return g.Reader.Read(p)
}

// source is what is decoded.
type source struct {
	io.Reader
	n    int64
	done bool
}

func (s *source) Read(p []byte) (int, error) {
	if s.done {
		return 0, errEnded
	}
	n, err := s.Reader.Read(p)
	s.n += int64(n)
	return n, err
}

// decoded is a stream that comes out of a decoder.
type decoded struct {
	io.Reader
	c       *Compressor
	coding  Encoding
	in      source
	out     int64
	release func()
}

func (d *decoded) Read(p []byte) (int, error) {
	if d.release == nil {
		return 0, errEnded
	}
	n, err := d.Reader.Read(p)
	d.out += int64(n)
	if err == io.EOF && d.in.n == 0 {
		err = io.ErrUnexpectedEOF // nothing is no stream, in any coding
	}
	return n, err
}

// Close gives the decoder back.
func (d *decoded) Close() error {
	if d.release == nil {
		return nil
	}
	d.in.done = true
	d.release()
	d.release = nil
	d.c.metrics.decoded(d.coding, d.in.n, d.out)
	return nil
}

// Decoded appends src, freed of the coding e, to dst. The error is [ErrTooLarge] if that is more than limit
// bytes.
func (c *Compressor) Decoded(dst, src []byte, e Encoding, limit int64) ([]byte, error) {
	r, err := c.Reader(bytes.NewReader(src), e)
	if err != nil {
		return dst, err
	}
	defer r.Close()
	out := appender{bytes: dst}
	n, err := io.Copy(&out, io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return dst, fmt.Errorf("transform: decode %s: %w", e, err)
	case n > limit:
		return dst, fmt.Errorf("transform: decode %s: %w: more than %d bytes", e, ErrTooLarge, limit)
	}
	return out.bytes, nil
}
