package edge

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/cmcd/cmsd"
	"github.com/weir-stream/weir/internal/cdn/access"
	"github.com/weir-stream/weir/internal/cdn/cache"
	"github.com/weir-stream/weir/internal/cdn/edge/message"
	"github.com/weir-stream/weir/internal/cdn/transform"
	"github.com/weir-stream/weir/internal/telemetry"
)

// maxLarge bounds how many objects are remembered to be kept in slices, or not to be.
const maxLarge = 1 << 16

// Settings are what a Handler needs.
type Settings struct {
	Config Config
	// ID names this edge in Cache-Status and in telemetry.
	ID string
	// Origin is asked for what the cache has not. Redirects are the origin's answer like any other.
	Origin http.RoundTripper
	// OriginURL is what a request's path is appended to.
	OriginURL *url.URL
	// Trace prepares the context of a request to the origin so that the returned function can afterwards
	// name the origin that answered and its address. It may be nil.
	Trace func(context.Context) (context.Context, func() (name, address string))
	// Once prepares the context of a request of which a failure is made up for by something stale, so that no origin
	// is sent it a second time. It may be nil.
	Once  func(context.Context) context.Context
	Cache *cache.Cache
	// Looped reports whether a request with this header has been through this edge before; it is then answered
	// with 508. It may be nil.
	Looped func(http.Header) bool
	Access Access // nil: everybody may have everything
	// Observe is given one row per request, preflights excepted, after the last byte. It must not
	// block, nor keep the row, which is used again. It may be nil.
	Observe    func(*telemetry.Request)
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Access decides who may have what; see [access.Chain].
type Access interface {
	Needs(path string) bool
	Check(*access.Request) access.Decision
	Covers(g access.Grant, path, candidate string) bool
}

// Handler answers viewers. It is safe for concurrent use.
type Handler struct {
	table      atomic.Pointer[table]
	reloading  sync.Mutex // one Reload at a time
	id         string
	name       string // id in wire form
	via        []string
	origin     http.RoundTripper
	originURL  *url.URL
	trace      func(context.Context) (context.Context, func() (name, address string))
	once       func(context.Context) context.Context
	cache      *cache.Cache
	maxObject  int64
	sliceBytes int64
	access     Access
	looped     func(http.Header) bool
	compressor *transform.Compressor
	hop        []byte // id as CMSD has it
	observe    func(*telemetry.Request)
	log        *slog.Logger
	quiet      *log.Logger // what a proxy of the standard library has to say
	metrics    *metrics
	now        func() time.Time

	prefetch *prefetcher

	fetches  *limiter // for the cache
	passes   *limiter // for one viewer
	upgrades *limiter // for connections that have become something else

	exchanges sync.Pool  // of *exchange, which are large
	hits      *sync.Pool // of *hit

	// large are keys of objects that are kept in slices, whole those that the origin gives only whole.
	large, whole *keySet

	// ctx is the context of fetches: theirs, not that of the viewer who was first.
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // fetches; added to with mu held while not closed
}

// New returns a Handler. It serves at once; [Handler.Run] ends its fetches.
func New(s Settings) (*Handler, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	switch {
	case s.ID == "":
		return nil, errors.New("edge: no ID is given")
	case s.Origin == nil || s.OriginURL == nil:
		return nil, errors.New("edge: no origin is given")
	case s.Cache == nil:
		return nil, errors.New("edge: no cache is given")
	case len(s.Config.Rules) == 0:
		return nil, errNoRules
	}
	h := &Handler{
		id: s.ID, name: message.WireName(s.ID), origin: s.Origin, originURL: s.OriginURL,
		trace: s.Trace, once: s.Once, looped: s.Looped, cache: s.Cache, maxObject: s.Cache.MaxObject(), sliceBytes: sliceBytesOf(s.Config.SliceBytes, s.Cache.MaxObject()), access: s.Access, observe: s.Observe, log: s.Log, now: s.Now,
		large: newKeySet(maxLarge), whole: newKeySet(maxLarge),
		fetches: newLimiter(s.Config.MaxFetches, s.Config.MaxQueue, s.Config.QueueTimeout),
		passes:  newLimiter(s.Config.MaxPasses, s.Config.MaxQueue, s.Config.QueueTimeout),
	}
	h.table.Store(newTable(s.Config))
	h.hits = newHits(h)
	h.upgrades = newLimiter(s.Config.MaxUpgrades, 0, s.Config.QueueTimeout)
	h.hop = []byte((&cmsd.Hop{Name: s.ID}).String())
	if h.looped == nil {
		h.looped = func(http.Header) bool { return false }
	}
	var err error
	if h.compressor, err = transform.New(transform.Settings{Config: s.Config.Compression, Registerer: s.Registerer}); err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	h.prefetch = &prefetcher{h: h, slots: newLimiter(s.Config.MaxPrefetches, 0, s.Config.QueueTimeout)}
	if h.trace == nil {
		h.trace = func(ctx context.Context) (context.Context, func() (string, string)) {
			return ctx, func() (string, string) { return "", "" }
		}
	}
	h.via = []string{"1.1 weir"}
	if message.IsToken(s.ID) {
		h.via = []string{"1.1 " + s.ID}
	}
	if h.observe == nil {
		h.observe = func(*telemetry.Request) {}
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.quiet = slog.NewLogLogger(h.log.Handler(), slog.LevelDebug)
	if h.now == nil {
		h.now = time.Now
	}
	if h.metrics, err = newMetrics(s.Registerer, h); err != nil {
		return nil, fmt.Errorf("edge: register metrics: %w", err)
	}
	h.exchanges.New = func() any { return new(exchange) }
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h, nil
}

// Run blocks until ctx ends, then ends the fetches that are running and waits for them. Listeners are
// to be stopped before: what is asked of the handler afterwards is answered from the cache or with 503.
func (h *Handler) Run(ctx context.Context) error {
	<-ctx.Done()
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel(errClosing)
	h.running.Wait()
	return nil
}

// begin announces a fetch; false if there are to be no more.
func (h *Handler) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.running.Add(1)
	return true
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// By the clean path, or another spelling would choose another rule for the same object.
	rule := h.table.Load().rules.of(message.CleanPath(r.URL.Path))
	if r.Method == http.MethodOptions && (rule.Forward == ForwardObject || rule.CORS && r.Header.Get("Access-Control-Request-Method") != "") {
		h.options(w, r)
		return
	}
	x := h.exchanges.Get().(*exchange)
	// One by one: a literal of this size would be made on the stack, which HTTP/2 has new for each request.
	x.h, x.r, x.rule = h, r, rule
	x.w.ResponseWriter, x.w.now = w, h.now
	x.row.Time = h.now()
	x.client, x.port = h.client(r)
	x.answer()
	x.row.TCP = connection(w)
	x.finish()
	// The context of a viewer who is still there ends too, when the listener stops. Returning would then
	// say that the answer is whole, be it an empty 200.
	unfinished := x.broken || x.row.Aborted
	*x = exchange{} // nothing of one viewer is kept for the next
	h.exchanges.Put(x)
	if unfinished {
		// The rest will never come: only an end without an end tells the viewer so.
		panic(http.ErrAbortHandler)
	}
}

// options answers a CORS preflight. It is counted, but is no row: it is the browser's, not the player's.
func (h *Handler) options(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	addCORS(header)
	header.Set("Allow", allowedMethods)
	if r.Header.Get("Access-Control-Request-Method") != "" {
		header.Set("Access-Control-Allow-Methods", allowedMethods)
		header.Set("Access-Control-Allow-Headers", allowedHeaders)
		header.Set("Access-Control-Max-Age", preflightAge)
	}
	w.WriteHeader(http.StatusNoContent)
	h.metrics.preflights.Inc()
}
