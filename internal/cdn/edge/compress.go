package edge

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/cache/segment"
	"github.com/weir-stream/weir/internal/cdn/edge/h1"
	"github.com/weir-stream/weir/internal/cdn/transform"
)

// Where the rule says so, an object that is text is kept once more in each content coding in which somebody wants
// it, under a key of its own: so it is encoded once. The origin is asked for what is not encoded, in the same
// words by everybody, so the object itself has no variants by coding. The encoding is only ever served for the
// answer of the origin that it was made of: who looks for it has looked up the object first, and so what decides about
// the object, as its freshness and purges, decides about the encoding.

const (
	// wholeEncoding is the size up to which a body is encoded before any of it is sent. It is then denser, and its
	// length is known.
	wholeEncoding = 1 << 20
	// awaitedEncoding is the size up to which a body that is still growing is waited for.
	awaitedEncoding = 64 << 10
	// denseTTL is the lifetime from which it is worth it to encode densely.
	denseTTL = time.Minute
	// pieceBytes is how much of a body is encoded at once.
	pieceBytes = 32 << 10
)

// codings are those in which an object may be kept beside itself.
var codings = [...]transform.Encoding{transform.Zstd, transform.Brotli, transform.Gzip, transform.Identity}

var identityOnly = []string{string(transform.Identity)}

// negotiate notes in which coding the viewer wants its answer, and has the origin asked for what is not encoded.
func (x *exchange) negotiate() {
	if datedRange(x.r.Header.Get("If-Range")) && x.h.compressor.Negotiate(x.r) != transform.Identity {
		delete(x.r.Header, "Range")
		delete(x.r.Header, "If-Range")
	}
	x.asked = transform.AskedBy(x.r.Header)
	x.r.Header["Accept-Encoding"] = identityOnly
}

// datedRange reports whether a part is wanted if the object has not changed since a date (RFC 9110 §13.1.5). An object
// and its encodings have the same date, so who accepts both may have a part of the other, and gets the whole.
func datedRange(ifRange string) bool {
	return ifRange != "" && ifRange[0] != '"' && !strings.HasPrefix(ifRange, "W/")
}

// compressible makes the head of an object say that there may be other encodings of it. What the origin says of
// Accept-Encoding does not count: it is always asked for the same.
func (h *Handler) compressible(head *cache.Head) {
	plan := h.compressor.PlanFor(transform.Asked{}, head.Status, head.Header, head.Length)
	transform.Plan{Vary: plan.Vary}.Apply(head.Header)
	if slices.Contains(head.Vary, "Accept-Encoding") {
		head.Vary = slices.DeleteFunc(slices.Clone(head.Vary), func(name string) bool { return name == "Accept-Encoding" })
		if len(head.Vary) == 0 {
			head.Vary = nil
		}
	}
}

// invalidate takes an object out of the cache, with all that belongs to it.
func (h *Handler) invalidate(key string) {
	h.cache.Invalidate(key)
	if h.large.has(key) {
		h.cache.InvalidateParts(key)
		h.large.forget(key)
	}
	for _, coding := range codings {
		h.cache.Invalidate(cache.EncodingKey(key, string(coding)))
	}
}

// encoded returns the object in the coding that the viewer wants it in; nil if it is to be served as it is. The
// caller releases it.
func (x *exchange) encoded(o *cache.Object) *cache.Object {
	plan := x.h.compressor.PlanFor(x.asked, o.Status, o.Header, o.Length())
	if !plan.Changes() {
		return nil
	}
	q := cache.Query{
		Key: cache.EncodingKey(x.target.Key, string(cmp.Or(plan.Encode, transform.Identity))), Now: x.row.Time, Probe: true,
	}
	if x.rule.Forward == ForwardRequest {
		q.Header = x.r.Header
	}
	if l := x.h.cache.Get(q); l.Object != nil {
		if !l.Object.Received.Before(o.Received) {
			return l.Object
		}
		l.Object.Release()
	}
	// What is there is of another answer of the origin, and to be made anew, however fresh it was.
	q.Probe, q.Control.NoCache = false, true
	for range maxAgain {
		l := x.h.cache.Get(q)
		if l.Object != nil {
			l.Object.Release()
		}
		if l.Fill == nil {
			return nil // there was no room for it a moment ago
		}
		if l.Leader {
			x.h.encode(l.Fill, o, plan, q.Header, x.rule.Live)
		}
		out, err := l.Fill.Wait(x.r.Context())
		if err != nil || out.Object == nil {
			return nil
		}
		if !out.Object.Received.Before(o.Received) {
			return out.Object
		}
		out.Object.Release() // made by a viewer who had got an older answer
	}
	return nil
}

// encode ends a fill with o in another coding. Small objects are encoded here and now, others while they are sent.
func (h *Handler) encode(fill *cache.Fill, o *cache.Object, plan transform.Plan, asked http.Header, live bool) {
	fill.Derive(o)
	header := o.Header.Clone()
	plan.Apply(header)
	if plan.Encode != "" {
		header["Accept-Ranges"] = noRanges // with this tag a client would not get one
	}
	head := cache.Head{
		Status: o.Status, Header: header, Length: -1, Freshness: o.Freshness, Request: asked, Tags: o.Tags, Live: live, Fetch: o.Fetch,
	}
	stale := fill.Stale()
	switch {
	case stale != nil && stale.Status == o.Status && isStrong(o.ETag) && stale.ETag == header.Get("Etag") && stale.Complete():
		fill.Revalidated(head) // the same bytes, so the same encoding
	case !h.encodeWhole(fill, o, plan, head):
		h.encodeStream(fill, o, plan, head)
	}
}

// bodyOf returns the body of an object that is small enough, and copied unless it is there; nil of others. To read it
// may be a fault.
func (h *Handler) bodyOf(o *cache.Object) ([]byte, error) {
	length := o.Length()
	switch {
	case o.Complete() && length <= wholeEncoding:
		return o.Whole(), nil
	case length < 0 || length > awaitedEncoding:
		return nil, nil
	}
	r := &objectReader{ctx: h.ctx, reader: o.Open(0, -1)}
	defer r.reader.Close()
	return io.ReadAll(r)
}

func isStrong(etag string) bool { return etag != "" && !strings.HasPrefix(etag, "W/") }

// encodeWhole is false for objects that are too large.
func (h *Handler) encodeWhole(fill *cache.Fill, o *cache.Object, plan transform.Plan, head cache.Head) bool {
	source, err := h.bodyOf(o)
	if err == nil && source == nil {
		return false
	}
	effort := transform.Dynamic
	if !head.Live && o.TTL(h.now()) >= denseTTL {
		effort = transform.Static
	}
	var body []byte
	fault := segment.Guard(func() {
		if err != nil {
			return
		}
		if plan.Decode != "" {
			if source, err = h.compressor.Decoded(nil, source, plan.Decode, h.maxObject); err != nil {
				return
			}
			body = source
		}
		if plan.Encode == "" {
			return
		}
		if body, err = h.compressor.Body(nil, source, plan.Encode, effort); errors.Is(err, transform.ErrNoGain) {
			// It is kept as it is: so it is found at once the next time, and not tried again.
			body, err = bytes.Clone(source), nil
			head.Header = o.Header
			if plan.Decode != "" {
				head.Header = o.Header.Clone()
				transform.Plan{Decode: plan.Decode, Vary: true}.Apply(head.Header)
			}
		}
	})
	if err = cmp.Or(fault, err); err != nil {
		h.log.Debug("an object could not be encoded", "error", err)
		fill.Pass(o.Fetch, h.now())
		return true
	}
	head.Length = int64(len(body))
	if e, err := fill.Store(head); err != nil {
		fill.Pass(o.Fetch, h.now())
	} else if err := e.FillFrom(h.ctx, bytes.NewReader(body)); err != nil {
		h.log.Debug("an encoding broke off", "error", err)
	}
	return true
}

// encodeStream encodes an object that is large, or still growing, for all who want it at the same time.
func (h *Handler) encodeStream(fill *cache.Fill, o *cache.Object, plan transform.Plan, head cache.Head) {
	if !h.begin() {
		fill.Fail(errClosing, o.Fetch, h.now())
		return
	}
	e, err := fill.Store(head)
	if err != nil {
		h.running.Done()
		fill.Pass(o.Fetch, h.now())
		return
	}
	o.Retain()
	go func() {
		defer h.running.Done()
		defer o.Release()
		r := &objectReader{ctx: h.ctx, reader: o.Open(0, -1)}
		defer r.reader.Close()
		body, err := h.encoding(r, plan, r.reader.Waits)
		if err == nil {
			err = e.FillFrom(h.ctx, body)
			body.close()
		} else {
			err = errors.Join(err, e.FillFrom(h.ctx, failed{err}))
		}
		if err != nil {
			h.log.Debug("an encoding broke off", "error", err)
		}
	}()
}

// failed is a body that cannot be had.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// objectReader reads an object's body as it comes.
type objectReader struct {
	ctx    context.Context //nolint:containedctx // an io.Reader is given none
	reader *cache.Reader
	rest   []byte
}

func (r *objectReader) Read(p []byte) (n int, err error) {
	fault := segment.Guard(func() {
		if len(r.rest) == 0 {
			r.rest, err = r.reader.Next(r.ctx)
		}
		n = copy(p, r.rest)
		r.rest = r.rest[n:]
	})
	return n, cmp.Or(fault, err)
}

// encodingReader is a body in another coding, encoded as it is read.
type encodingReader struct {
	source  io.Reader
	waits   func() bool       // the next read of the source may take its time; nil: it never does
	decoder io.Closer         // nil: nothing is decoded
	encoder *transform.Writer // nil: nothing is encoded
	out     bytes.Buffer
	piece   []byte
	held    bool // something is in the encoder
	ended   bool
}

// encoding returns the body of an answer, as plan says. The caller closes it.
func (h *Handler) encoding(source io.Reader, plan transform.Plan, waits func() bool) (*encodingReader, error) {
	r := &encodingReader{source: source, waits: waits, piece: make([]byte, pieceBytes)}
	if plan.Decode != "" {
		d, err := h.compressor.Reader(source, plan.Decode)
		if err != nil {
			return nil, err
		}
		r.source, r.decoder = d, d
	}
	if plan.Encode != "" {
		var err error
		if r.encoder, err = h.compressor.Writer(&r.out, plan.Encode, transform.Dynamic); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

// Read returns what has come out of the encoder. Before the source is waited for, all that was put in does.
func (r *encodingReader) Read(p []byte) (int, error) {
	for r.out.Len() == 0 {
		if r.ended {
			return 0, io.EOF
		}
		if r.held && r.waits != nil && r.waits() {
			r.held = false
			if err := r.encoder.Flush(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := r.source.Read(r.piece)
		if n > 0 {
			if err := r.put(r.piece[:n]); err != nil {
				return 0, err
			}
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return 0, err
		default:
			r.ended = true
			if r.encoder != nil {
				if err := r.encoder.Close(); err != nil {
					return 0, err
				}
			}
		}
	}
	return r.out.Read(p)
}

func (r *encodingReader) put(p []byte) error {
	if r.encoder == nil {
		r.out.Write(p)
		return nil
	}
	r.held = true
	_, err := r.encoder.Write(p)
	return err
}

// close gives back what is needed. What has not been read by then never looks whole.
func (r *encodingReader) close() {
	if r.decoder != nil {
		_ = r.decoder.Close()
	}
	if r.encoder != nil {
		r.encoder.Abort()
	}
}

// encoded returns the object that a request of the edge's own loop gets instead of o: in the coding that the
// client wants, if that is there. It is nil if the long way has to be gone; o is released then.
func (x *hit) encoded(r *h1.Request, o *cache.Object, now time.Time) *cache.Object {
	h := x.h
	if datedRange(text(r.IfRange)) {
		o.Release()
		return nil
	}
	asked := transform.Asked{AcceptEncoding: text(r.AcceptEncoding), Part: r.Range != nil}
	if r.CacheControl != nil {
		asked.NoTransform = transform.AskedBy(http.Header{"Cache-Control": {text(r.CacheControl)}}).NoTransform
	}
	plan := h.compressor.PlanFor(asked, o.Status, o.Header, o.Length())
	if !plan.Changes() {
		return o
	}
	defer o.Release()
	x.scratch = cache.AppendEncodingKey(x.scratch[:0], x.key, string(cmp.Or(plan.Encode, transform.Identity)))
	e := h.cache.Hit(x.scratch, now)
	if e != nil && !e.Received.Equal(o.Received) {
		e.Release()
		return nil
	}
	return e
}

// plan says what is to be done with an answer that is not kept, and makes its header fit.
func (x *exchange) plan(response *http.Response, header http.Header) transform.Plan {
	if !x.rule.Compress {
		return transform.Plan{}
	}
	if response.StatusCode == http.StatusNotModified {
		x.retag(header)
		return transform.Plan{}
	}
	plan := x.h.compressor.PlanFor(x.asked, response.StatusCode, header, response.ContentLength)
	plan.Apply(header)
	return plan
}

// retag makes a 304 of the origin one about the encoding that the viewer has, if it is that which it has asked for.
func (x *exchange) retag(header http.Header) {
	for _, coding := range codings {
		tag := transform.Tag(header.Get("Etag"), coding)
		if tag != "" && slices.Contains(tagsOf(x.r.Header["If-None-Match"]), tag) {
			transform.Plan{Vary: true}.Apply(header)
			header["Etag"] = []string{tag}
			return
		}
	}
}

// tagsOf returns the members of If-None-Match. That a comma may be part of a tag does not matter to who looks for one
// that it has made: it would not be found.
func tagsOf(lines []string) []string {
	var out []string
	for _, line := range lines {
		for tag := range strings.SplitSeq(line, ",") {
			out = append(out, strings.Trim(tag, " \t"))
		}
	}
	return out
}

var noRanges = []string{"none"}

// acceptsRanges returns what an object's answers say of ranges.
func acceptsRanges(o *cache.Object) []string {
	if o.Header["Content-Encoding"] != nil && slices.Equal(o.Header["Accept-Ranges"], noRanges) {
		return noRanges
	}
	return acceptRanges
}

// originTags makes the condition of a viewer, who may have an encoding, one that the origin understands.
func originTags(lines []string) []string {
	return []string{transform.OriginalTags(strings.Join(lines, ", "))}
}
