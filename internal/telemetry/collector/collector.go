package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/internal/telemetry"
	"github.com/weir-stream/weir/internal/telemetry/collector/playback"
)

// Settings are what [New] needs.
type Settings struct {
	Config Config
	// Edge is the identifier of the node.
	Edge string
	// Accept takes the reports of a body, all or none, and does not keep the slice. When it has
	// returned nil they are safe. The error is [telemetry.ErrFull] if there is no room.
	Accept func(context.Context, []telemetry.Report) error
	// Load tells how full the queues are that Accept fills, from 0 to 1; nil is 0.
	Load       func() float64
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Handler answers the requests that players send to the collector. It does not look at the path,
// which is stored with each record.
type Handler struct {
	config  Config
	edge    string
	accept  func(context.Context, []telemetry.Report) error
	load    func() float64
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	state   *state
	batches sync.Pool // of *batch
	lost    atomic.Int64

	cmcd, events *api

	newVersion sync.Once // whether a version that is not known was logged
	panicked   sync.Once // whether a panic was logged
}

// New makes a handler.
func New(s Settings) (*Handler, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("telemetry collector: %w", err)
	}
	if s.Accept == nil {
		return nil, errors.New("telemetry collector: Settings.Accept is nil")
	}
	if s.Load == nil {
		s.Load = func() float64 { return 0 }
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	h := &Handler{
		config: s.Config, edge: s.Edge, accept: s.Accept, load: s.Load, log: s.Log, now: s.Now, state: newState(s.Config),
		batches: sync.Pool{New: func() any { return new(batch) }},
		cmcd:    cmcdAPI(), events: eventsAPI(),
	}
	m, err := newMetrics(s.Registerer, h)
	if err != nil {
		return nil, fmt.Errorf("telemetry collector: register metrics: %w", err)
	}
	h.metrics = m
	return h, nil
}

// api is one of the interfaces that records come in by.
type api struct {
	name  string
	types []string
	// jsonOnly says that a body that does not look like JSON is broken JSON.
	jsonOnly bool
	// parse reads one record into its report, and returns what became of it.
	parse func(h *Handler, raw []byte, isJSON bool, r *record, report *telemetry.Report) outcome
	// anyType says that a body of another type, or one that is compressed, is not refused: its sender would
	// only send it again.
	anyType bool
	// inRequest says that a record may also come with a GET, in its query or headers.
	inRequest bool
	// answer writes the answer to a body that was read.
	answer func(h *Handler, b *batch, w http.ResponseWriter, r *http.Request) (status int)
	// refuse writes the answer to a request that is not served.
	refuse func(w http.ResponseWriter, r *http.Request, status int, problem string)
}

// ServeHTTP takes CMCD reports, or answers a preflight.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(h.cmcd, w, r) }

// Events returns the handler of the events API, which takes the events of players that do not speak
// CMCD. They belong to the same sessions, and what was silenced here is silenced there.
func (h *Handler) Events() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(h.events, w, r) })
}

// serve answers a request. Whatever happens in here, the answer is not one after which a player would
// send its records again.
func (h *Handler) serve(a *api, w http.ResponseWriter, r *http.Request) {
	status := http.StatusNoContent
	answered := false
	defer func() {
		if p := recover(); p != nil {
			h.notePanic(p)
			if !answered {
				w.WriteHeader(status)
			}
		}
		h.metrics.requests.WithLabelValues(a.name, strconv.Itoa(status)).Inc()
	}()
	b := h.batches.Get().(*batch)
	b.api = a
	refused, problem := h.receive(b, w, r)
	switch {
	case problem != "":
		status, answered = refused, true
		a.refuse(w, r, status, problem)
	case r.Method == http.MethodOptions:
		w.WriteHeader(status)
	default:
		switch {
		case r.Method != http.MethodPost:
			h.takeRequest(b, w, r)
		case b.encoded:
			b.records = append(b.records, record{report: -1, outcome: compressed})
			h.keep(b, r, h.now())
		default:
			h.take(b, r)
		}
		answered = true
		status = a.answer(h, b, w, r)
	}
	if b.reset() { // and not after a panic
		h.batches.Put(b)
	}
}

// receive looks at the request and reads its body. If it is not to be served the problem says why.
func (h *Handler) receive(b *batch, w http.ResponseWriter, r *http.Request) (status int, problem string) {
	// Players are on pages of any site, and send nothing that is secret.
	w.Header().Set("Access-Control-Allow-Origin", "*")
	methods := b.api.methods()
	switch r.Method {
	case http.MethodPost:
	case http.MethodOptions:
		w.Header().Set("Allow", methods)
		w.Header().Set("Access-Control-Allow-Methods", methods)
		w.Header().Set("Access-Control-Allow-Headers", b.api.headers())
		// application/cmcd needs a preflight; two hours is the most that Chromium keeps one.
		w.Header().Set("Access-Control-Max-Age", "7200")
		return http.StatusNoContent, ""
	default:
		if b.api.inRequest && (r.Method == http.MethodGet || r.Method == http.MethodHead) && hasCMCD(r) {
			return 0, ""
		}
		w.Header().Set("Allow", methods)
		return http.StatusMethodNotAllowed, fmt.Sprintf("method %s is not allowed: records are sent with POST", r.Method)
	}
	b.encoded = encoding(r.Header) != ""
	problem = b.api.checkType(r.Header)
	if problem != "" && b.api.anyType {
		h.metrics.warnings.WithLabelValues("media_type").Inc()
	}
	switch {
	case b.api.anyType && b.encoded:
		return 0, "" // what is compressed is not read
	case problem != "" && !b.api.anyType:
		w.Header().Set("Accept-Post", strings.Join(b.api.types, ", "))
		return http.StatusUnsupportedMediaType, problem
	}
	return h.read(b, w, r)
}

// methods and headers are what a page of any site may send (Fetch §3.3).
func (a *api) methods() string {
	if a.inRequest {
		return "POST, GET, HEAD, OPTIONS"
	}
	return "POST, OPTIONS"
}

func (a *api) headers() string {
	if a.inRequest {
		return "Content-Type, Authorization, Prefer, CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session"
	}
	return "Content-Type, Authorization, Prefer"
}

// newReport makes a report of what the request says of its sender.
func (h *Handler) newReport(r *http.Request) telemetry.Report {
	report := telemetry.Report{Edge: h.edge, UserAgent: telemetry.Clip(r.UserAgent()), Path: telemetry.Clip(r.URL.Path)}
	if client, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		report.Client = client.Addr().Unmap()
	}
	return report
}

// take makes reports of the records in the body, and hands those that are to be kept to the bus.
func (h *Handler) take(b *batch, r *http.Request) {
	now, report := h.now(), h.newReport(r)
	s := newSplitter(b, h.config.MaxRecordBytes)
	array, whole := s.array, true
	for {
		raw, broken, unfinished, ok := s.next()
		if !ok {
			break
		}
		if len(b.records) == h.config.MaxRecords {
			b.tooMany = 1 + s.rest()
			break
		}
		// A microsecond is what stores tell times apart by.
		report.Time = now.Add(time.Duration(len(b.reports)) * time.Microsecond)
		b.records = append(b.records, record{report: -1})
		record := &b.records[len(b.records)-1]
		switch {
		case unfinished && b.cut:
			record.outcome = bodyTooLong
			whole = false
		case len(raw) > h.config.MaxRecordBytes:
			record.outcome = tooLong
		case broken:
			record.outcome = notJSON
			if b.api.jsonOnly {
				record.problems = []playback.Finding{playback.Broken(raw)}
			}
		default:
			b.reports = append(b.reports, report)
			record.report = len(b.reports) - 1
			record.outcome = h.parse(b.api, raw, s.json, record, &b.reports[record.report])
			if record.outcome != taken {
				b.reports = b.reports[:record.report]
				record.report = -1
			}
		}
	}
	if b.cut && s.json {
		if array { // lines say nothing of its elements
			b.tooLong = 1
		}
		if !whole { // it is among the records
			b.tooLong--
		}
	}
	h.keep(b, r, now)
}

// parse reads one record, and survives it.
func (h *Handler) parse(a *api, raw []byte, isJSON bool, r *record, report *telemetry.Report) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			h.notePanic(p)
			o = internalError
		}
	}()
	return a.parse(h, raw, isJSON, r, report)
}

func (h *Handler) notePanic(p any) {
	h.panicked.Do(func() {
		h.log.Error("panic while a report was being read; any more are only counted", "panic", p, "stack", string(debug.Stack()))
	})
}

// keep hands those records of the body to the bus that are to be kept, and counts what became of all.
func (h *Handler) keep(b *batch, r *http.Request, now time.Time) {
	b.path = r.URL.Path
	admitted := h.state.admit(b, h.load(), now)
	h.metrics.missing.Add(float64(admitted.missing))
	h.metrics.late.Add(float64(admitted.late))
	for _, session := range admitted.flooding {
		h.metrics.silences.WithLabelValues(byFlood).Inc()
		h.log.Warn("session silenced: it posts too much", "session", telemetry.Clip(session), "records_per_minute", h.config.MaxSessionRecords, "for", h.config.SilenceTime)
	}
	for i := range b.records {
		if record := &b.records[i]; record.report >= 0 {
			report := &b.reports[record.report]
			record.id, record.warnings = report.ID, report.CMCD.Warnings
		}
	}
	b.compact()
	if len(b.reports) > 0 {
		// A player that closes its page hangs up at once; what it has sent is taken all the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.config.AcceptTimeout)
		err := h.accept(ctx, b.reports)
		cancel()
		if err != nil {
			h.refuseAll(b, err)
		}
	}
	h.state.commit(b)
	h.count(b)
}

// refuseAll drops what the bus has not accepted.
func (h *Handler) refuseAll(b *batch, err error) {
	why := busFailed
	if errors.Is(err, telemetry.ErrFull) {
		why = busFull
	}
	for i := range b.records {
		if r := &b.records[i]; r.outcome == taken {
			r.outcome = why
		}
	}
}

func (h *Handler) count(b *batch) {
	h.metrics.dropped[tooMany].Add(float64(b.tooMany))
	h.metrics.dropped[bodyTooLong].Add(float64(b.tooLong))
	for i := range b.records {
		r := &b.records[i]
		switch r.outcome {
		case taken:
			h.metrics.records.WithLabelValues(b.api.name).Inc()
			if r.warnings != 0 {
				for _, fault := range r.warnings.Names() {
					h.metrics.warnings.WithLabelValues(fault).Inc()
				}
			}
		case duplicate:
			h.metrics.duplicates.Inc()
		case shed, busFull, busFailed:
			h.lost.Add(1)
			h.metrics.dropped[r.outcome].Inc()
		default:
			h.metrics.dropped[r.outcome].Inc()
		}
	}
}

// Lost returns how many good records were dropped because the bus had no room for them, or too little
// for all sessions.
func (h *Handler) Lost() int64 { return h.lost.Load() }
