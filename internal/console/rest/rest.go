package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/weir-stream/weir/internal/analytics"
	"github.com/weir-stream/weir/internal/live"
	"github.com/weir-stream/weir/internal/problem"
)

// Sessions finds the sessions that are stored.
type Sessions interface {
	Sessions(ctx context.Context, filter analytics.SessionFilter) ([]analytics.Session, error)
	Session(ctx context.Context, idOrUniquePrefix string) (analytics.SessionDetails, error)
}

// Querier answers queries and says what can be asked.
type Querier interface {
	Query(ctx context.Context, q analytics.Query) (analytics.Result, error)
	Catalogue() []analytics.Metric
	Dimensions() []string
}

// Streams tells which streams are running.
type Streams interface {
	Streams() []live.StreamInfo
}

// Snapshot tells what is going on now.
type Snapshot interface {
	Live() analytics.Live
}

// Settings are what a [Handler] is made of. Everything but Purger, Log and Version is needed.
type Settings struct {
	Sessions Sessions
	Querier  Querier
	Streams  Streams
	Snapshot Snapshot
	// Addresses tells where the server is reached by somebody who knows it by the host name.
	Addresses func(host string) Addresses
	// Examine looks at CMCD that is sent to be validated.
	Examine Examine
	// Silencer makes players stop posting.
	Silencer Silencer
	// Purger purges the caches of the fleet; without one there are none.
	Purger Purger
	// Version is the version of the server, told in the API's description.
	Version string
	Log     *slog.Logger
}

// Handler serves the API below /api/v1.
type Handler struct {
	mux *http.ServeMux
	api huma.API
	set Settings
}

// New returns a handler of the API.
func New(set Settings) (*Handler, error) {
	if set.Sessions == nil || set.Querier == nil || set.Streams == nil || set.Snapshot == nil || set.Addresses == nil || set.Examine == nil || set.Silencer == nil {
		return nil, errors.New("rest: Sessions, Querier, Streams, Snapshot, Addresses, Examine and Silencer must be set")
	}
	h := assemble(set)
	h.register()
	h.mux.Handle("POST /api/v1/cmcd/validate", newValidation(set.Examine, operatorLimits))
	h.registerSilence()
	h.registerPurge()
	describeValidation(h.api.OpenAPI(), "/api/v1/cmcd/validate")
	describeEvents(h.api.OpenAPI())
	neverNull(h.api.OpenAPI())
	return h, nil
}

// NewEdge returns a handler of the part of the API that an edge alone has.
func NewEdge(set Settings) (*Handler, error) {
	if set.Purger == nil {
		return nil, errors.New("rest: Purger must be set")
	}
	h := assemble(set)
	h.registerPurge()
	neverNull(h.api.OpenAPI())
	return h, nil
}

func assemble(set Settings) *Handler {
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	if set.Version == "" {
		set.Version = "devel"
	}
	h := &Handler{mux: http.NewServeMux(), set: set}
	h.api = humago.New(h.mux, description(set.Version))
	return h
}

// ServeHTTP answers one request. What the API answers is of this moment, so nobody may keep it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if _, pattern := h.mux.Handler(r); pattern == "" {
		allowed := h.methods(r)
		if len(allowed) == 0 {
			problem.Write(w, r, http.StatusNotFound, "the API has no such path; GET /api/v1/openapi.yaml tells which it has")
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		problem.Write(w, r, http.StatusMethodNotAllowed, r.Method+" is not among the methods of this path: "+strings.Join(allowed, ", "))
		return
	}
	h.mux.ServeHTTP(w, r)
}

// methods returns the methods that the path of r has, none if the API has no such path.
func (h *Handler) methods(r *http.Request) []string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		asked := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if _, pattern := h.mux.Handler(asked); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	return allowed
}

// OpenAPI returns the description of the API as OpenAPI 3.1 in YAML.
func (h *Handler) OpenAPI() ([]byte, error) { return h.api.OpenAPI().YAML() }
