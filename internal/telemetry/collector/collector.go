package collector

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

// Settings are what [New] needs.
type Settings struct {
	Config Config
	// Edge is the identifier of the node.
	Edge string
	// Report takes each record. It must not block.
	Report     func(telemetry.Report)
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
	report  func(telemetry.Report)
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	newVersion sync.Once // whether a version that is not known was logged
}

// New makes a handler.
func New(s Settings) (*Handler, error) {
	if err := s.Config.Validate(); err != nil {
		return nil, fmt.Errorf("telemetry collector: %w", err)
	}
	if s.Report == nil {
		return nil, errors.New("telemetry collector: Settings.Report is nil")
	}
	m, err := newMetrics(s.Registerer)
	if err != nil {
		return nil, fmt.Errorf("telemetry collector: register metrics: %w", err)
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	return &Handler{config: s.Config, edge: s.Edge, report: s.Report, log: s.Log, now: s.Now, metrics: m}, nil
}

// ServeHTTP takes a report, or answers a preflight.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, problem := h.serve(w, r)
	h.metrics.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	if problem != "" {
		http.Error(w, problem, status)
		return
	}
	w.WriteHeader(status)
}

// serve returns the status, and what is wrong if something is.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (status int, problem string) {
	// Players are on pages of any site, and send nothing that is secret.
	w.Header().Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodPost:
	case http.MethodOptions:
		w.Header().Set("Allow", "POST, OPTIONS")
		w.Header().Set("Access-Control-Allow-Methods", "POST, OPTIONS")
		w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
		// application/cmcd needs a preflight; two hours is the most that Chromium keeps one.
		w.Header().Set("Access-Control-Max-Age", "7200")
		return http.StatusNoContent, ""
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		return http.StatusMethodNotAllowed, fmt.Sprintf("method %s is not allowed: CMCD reports are sent with POST", r.Method)
	}
	if problem := checkType(r.Header); problem != "" {
		w.Header().Set("Accept-Post", "application/cmcd, text/cmcd, text/plain, application/json")
		return http.StatusUnsupportedMediaType, problem
	}
	// A body that never ends would hold a connection for ever. What cannot have a deadline, a recorder in
	// a test, has none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.config.BodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.config.MaxBodyBytes))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes", tooLarge.Limit)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return http.StatusRequestTimeout, fmt.Sprintf("the body did not come within %v", h.config.BodyTimeout)
		}
		return http.StatusBadRequest, "the body could not be read"
	}
	h.take(r, body)
	return http.StatusNoContent, ""
}

// checkType says what is wrong with the media type of the body, "" if nothing. Pages that cannot
// afford a preflight send text/plain, and a beacon may have no type at all.
func checkType(header http.Header) string {
	if encoding := header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return fmt.Sprintf("content encoding %q is not supported: send the body as it is", encoding)
	}
	value := header.Get("Content-Type")
	if value == "" {
		return ""
	}
	mediaType, _, err := mime.ParseMediaType(value)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return fmt.Sprintf("content type %q cannot be read: expected application/cmcd", value)
	}
	switch mediaType {
	case "application/cmcd", "text/cmcd", "text/plain", "application/json":
		return ""
	}
	return fmt.Sprintf("content type %q is not supported: expected application/cmcd, text/cmcd, text/plain or application/json", mediaType)
}

// take reports every good record of the body.
func (h *Handler) take(r *http.Request, body []byte) {
	report := telemetry.Report{
		Time: h.now(), Edge: h.edge, UserAgent: telemetry.Clip(r.UserAgent()), Path: telemetry.Clip(r.URL.Path),
	}
	if client, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		report.Client = client.Addr().Unmap()
	}
	n := 0
	one := func(v cmcd.Values, err error) {
		switch n++; {
		case n > h.config.MaxRecords:
			h.drop(tooMany)
		case errors.Is(err, cmcd.ErrVersion):
			h.drop(unknownVersion)
			h.newVersion.Do(func() { // CTA-5004-B §6 wants it logged
				h.log.Warn("a player sends CMCD of a version that is not known", "user_agent", r.UserAgent())
			})
		case errors.Is(err, cmcd.ErrNoKeys):
			h.drop(noKeys)
		case err != nil:
			h.drop(notJSON)
		default:
			h.metrics.records.Inc()
			for _, fault := range v.Warnings.Names() {
				h.metrics.warnings.WithLabelValues(fault).Inc()
			}
			report.ID = uuid.Must(uuid.NewV7()) // fails only without a source of randomness
			report.CMCD = v
			h.report(report)
		}
	}
	text := strings.TrimSpace(string(body))
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") { // no record begins like that
		for v, err := range cmcd.ParseJSON(body) {
			if len(v.String()) > h.config.MaxRecordBytes {
				h.drop(tooLong)
				n++
				continue
			}
			one(v, err)
		}
		return
	}
	for record := range cmcd.SplitBody(text) {
		switch {
		case len(record) > h.config.MaxRecordBytes:
			h.drop(tooLong)
			n++
		case n >= h.config.MaxRecords:
			h.drop(tooMany)
		default:
			// A copy, as a short string of the record would otherwise keep the whole body in memory.
			one(cmcd.Parse(strings.Clone(record)))
		}
	}
}

func (h *Handler) drop(reason string) { h.metrics.dropped.WithLabelValues(reason).Inc() }
