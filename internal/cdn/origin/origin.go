package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/problem"
)

// Source is where the objects below one prefix come from.
type Source interface {
	// Object opens the object that key names; key is what follows the prefix, a clean relative
	// path. It may wait for an object that is about to be, as long as ctx allows. The header
	// carries at least Content-Type; Cache-Control and a strong ETag make the object worth caching.
	// An object that does not exist is fs.ErrNotExist.
	//
	// The bytes behind the returned reader do not change any more, and Read does not block for long.
	Object(ctx context.Context, key string) (io.ReadSeekCloser, http.Header, error)
}

// negativeControl is the Cache-Control of an answer about an object that does not exist: a live
// object can be there a moment later.
const negativeControl = "max-age=1"

// Settings are what a Handler needs.
type Settings struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Handler serves the objects of its sources. It is safe for concurrent use.
type Handler struct {
	log     *slog.Logger
	metrics *metrics

	mu     sync.RWMutex
	mounts []mount // the longest prefix first
}

type mount struct {
	prefix string
	source Source
	live   bool
}

// New returns a Handler without sources.
func New(s Settings) (*Handler, error) {
	m, err := newMetrics(s.Registerer)
	if err != nil {
		return nil, fmt.Errorf("origin: register metrics: %w", err)
	}
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Handler{log: log, metrics: m}, nil
}

// Mount gives the objects below prefix ("live/") to s. The longest prefix that fits a key wins; a
// prefix that is mounted again gets the new source.
func (h *Handler) Mount(prefix string, s Source) { h.mount(prefix, s, false) }

// MountLive is Mount for a source of live streams, whose objects tell so (CMSD-Static).
func (h *Handler) MountLive(prefix string, s Source) { h.mount(prefix, s, true) }

func (h *Handler) mount(prefix string, s Source, live bool) {
	prefix = strings.Trim(prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mounts = slices.DeleteFunc(slices.Clone(h.mounts), func(m mount) bool { return m.prefix == prefix })
	h.mounts = append(h.mounts, mount{prefix, s, live})
	slices.SortStableFunc(h.mounts, func(a, b mount) int { return len(b.prefix) - len(a.prefix) })
}

// find returns the source of the object at urlPath and the key that the source knows it by.
func (h *Handler) find(urlPath string) (mount, string, bool) {
	key := strings.TrimPrefix(path.Clean("/"+urlPath), "/")
	if strings.HasSuffix(urlPath, "/") || strings.ContainsAny(key, "\\\x00") {
		return mount{}, "", false
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, m := range h.mounts {
		if rest, ok := strings.CutPrefix(key, m.prefix); ok && rest != "." && fs.ValidPath(rest) {
			return m, rest, true
		}
	}
	return mount{}, "", false
}

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	counted := &countingWriter{ResponseWriter: w}
	start := time.Now()
	if object := h.serve(counted, r); object != nil {
		if err := object.Close(); err != nil {
			h.log.Warn("an object did not close", "path", r.URL.Path, "error", err)
		}
	}
	h.metrics.observe(counted.status, counted.bytes, time.Since(start))
}

// serve writes the answer to w and returns the object it was made from, which is to be closed when
// the answer has been sent; nil if there is none.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) io.Closer {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		problem.Write(w, r, http.StatusMethodNotAllowed, "objects are read with GET or HEAD")
		return nil
	}
	m, key, ok := h.find(r.URL.Path)
	if !ok {
		h.refuse(w, r, fs.ErrNotExist)
		return nil
	}
	asked := time.Now()
	object, header, err := m.source.Object(r.Context(), key)
	if err != nil {
		h.refuse(w, r, err)
		return nil
	}
	out := w.Header()
	for name, values := range header {
		out[name] = slices.Clone(values)
	}
	if out.Get("Content-Type") == "" {
		// Else ServeContent would read the object's first bytes to guess.
		out.Set("Content-Type", "application/octet-stream")
	}
	if m.live {
		now := time.Now()
		describe(out, key, now.Sub(asked), now)
	}
	if strings.Contains(r.Header.Get("Range"), ",") {
		// Players ask for one range. An answer in several parts costs more than it saves; RFC 9110
		// §14.2 allows to answer with the whole.
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	modified, err := http.ParseTime(out.Get("Last-Modified"))
	if err != nil {
		modified = time.Time{}
	}
	http.ServeContent(w, r, "", modified, object)
	return object
}

// refuse answers with what err means to the edge.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := problem.Status(err)
	switch status {
	case http.StatusNotFound:
		w.Header().Set("Cache-Control", negativeControl)
		problem.Write(w, r, status, "there is no such object")
	case http.StatusInternalServerError:
		// The error's text can name files; it is for the log.
		h.log.Error("an object could not be served", "path", r.URL.Path, "kind", cdn.KindOf(r.URL.Path), "error", err)
		problem.Write(w, r, status, "the object could not be read")
	case http.StatusServiceUnavailable:
		if !errors.Is(err, context.Canceled) {
			h.log.Warn("an object is unavailable", "path", r.URL.Path, "error", err)
		}
		problem.Write(w, r, status, "the origin has given up on the object; ask again")
	default:
		problem.Write(w, r, status, strings.ToLower(http.StatusText(status)))
	}
}

// countingWriter counts what is written through it, and keeps the fast way for files open.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}
