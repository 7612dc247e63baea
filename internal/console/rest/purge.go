package rest

import (
	"context"
	"fmt"
	"maps"
	"mime"
	"net"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-stream/weir/internal/cdn"
)

// Purger purges the caches of the fleet.
type Purger interface {
	// Purge carries purges out and waits for all nodes to confirm them, until ctx ends, or for its usual time
	// if ctx has no deadline. Its outcomes are in the order of the purges.
	Purge(ctx context.Context, purges []cdn.Purge) []PurgeOutcome
}

// PurgeOutcome is what became of one purge.
type PurgeOutcome struct {
	ID                 string
	Sequence           uint64
	Confirmed, Missing []string
	// Err says why the purge has no place in the log; who has applied it is then not known.
	Err error
}

// PurgeItem is one thing to purge.
type PurgeItem struct {
	Scope  string `json:"scope" enum:"url,prefix,tag,all" doc:"What the target is: the path of one object with its query, the beginning of paths, or a tag that the origin has given to objects."`
	Target string `json:"target,omitempty" maxLength:"4096" doc:"Absent if everything is purged." example:"/live/tv/"`
	Host   string `json:"host,omitempty" maxLength:"255" doc:"Only objects that are asked for under this name; for url and prefix." example:"cdn.example"`
	Soft   bool   `json:"soft,omitempty" doc:"Make objects stale instead of removing them."`
	ID     string `json:"id,omitempty" maxLength:"128" pattern:"^[!-~]+$" doc:"Of the caller's choice: a purge that is sent again with the ID of one that is known is not carried out again. Default: a new one."`
}

// PurgeOrder is what to purge.
type PurgeOrder struct {
	Purges []PurgeItem `json:"purges" minItems:"1" maxItems:"1000"`
	Wait   string      `json:"wait,omitempty" doc:"How long to wait for confirmations, such as 500ms or 5s, at most 1m; default: cdn.purge.wait of the configuration." example:"5s"`
}

// PurgeItemReport is what became of one purge.
type PurgeItemReport struct {
	ID       string   `json:"id,omitempty"`
	Sequence uint64   `json:"sequence,omitempty" doc:"Its place among all purges and announcements of nodes; absent if it was not stored."`
	Missing  []string `json:"missing" doc:"Nodes that have not confirmed it. They apply it before they serve again, or when they hear of it."`
	Error    string   `json:"error,omitempty" doc:"Why it was not carried out. Sending it again with the same ID is safe."`
}

// PurgeReport is what became of all.
type PurgeReport struct {
	Purges    []PurgeItemReport `json:"purges" doc:"In the order of the request."`
	Confirmed []string          `json:"confirmed" doc:"Nodes that have confirmed all that was stored: none of them answers a later request with what was purged."`
	Missing   []string          `json:"missing" doc:"Nodes that have not confirmed all that was stored."`
	Duration  float64           `json:"duration" doc:"Seconds until the last confirmation, or until nobody waited any more."`
}

// PurgeError tells that not all is purged everywhere (RFC 9457 §3.2).
type PurgeError struct {
	huma.ErrorModel
	PurgeReport
}

type purgeInput struct {
	Body PurgeOrder
	by   string
}

// Resolve takes from the request who asks; huma calls it.
func (in *purgeInput) Resolve(ctx huma.Context) []error {
	in.by = ctx.RemoteAddr()
	if host, _, err := net.SplitHostPort(in.by); err == nil {
		in.by = host
	}
	return nil
}

type purgeOutput struct{ Body PurgeReport }

const (
	purgePath = "/api/v1/cdn/cache/purge"
	// maxPurgeBytes has room for as many purges as may be, of the length that they may have.
	maxPurgeBytes = 8 << 20
	maxPurgeWait  = time.Minute
)

func (h *Handler) registerPurge() {
	problems := make(map[string]*huma.Response)
	schema := h.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[PurgeError](), true, "")
	for status, description := range map[string]string{
		"503": "Some purges could not be carried out; which ones is in the purges.",
		"504": "Some nodes have not confirmed in time; which ones is in missing.",
	} {
		problems[status] = &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}}
	}
	huma.Register(h.api, huma.Operation{
		OperationID: "purgeCache", Method: http.MethodPost, Path: purgePath, Tags: []string{"cdn"},
		Summary: "Purge objects from the caches of all edges",
		Description: "Answers when all edges have confirmed: no request that comes later gets what was purged. Those that have not confirmed in " +
			"time are named. An edge that was away applies what it has missed before it serves again.",
		MaxBodyBytes: maxPurgeBytes, BodyReadTimeout: 30 * time.Second,
		Errors:      []int{http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusNotImplemented},
		Responses:   problems,
		Middlewares: huma.Middlewares{h.onlyJSON},
	}, h.purge)
}

// onlyJSON refuses what a page of another origin can send without being asked whether it may: anybody's
// page could have everything purged by the browser of an operator.
func (h *Handler) onlyJSON(ctx huma.Context, next func(huma.Context)) {
	if mediaType, _, err := mime.ParseMediaType(ctx.Header("Content-Type")); err != nil || mediaType != "application/json" {
		_ = huma.WriteErr(h.api, ctx, http.StatusUnsupportedMediaType, "expected a body of type application/json")
		return
	}
	next(ctx)
}

func (h *Handler) purge(ctx context.Context, in *purgeInput) (*purgeOutput, error) {
	if h.set.Purger == nil {
		return nil, huma.Error501NotImplemented("this node has no cache and knows of none that could be purged")
	}
	waiting := ctx
	if in.Body.Wait != "" {
		wait, err := time.ParseDuration(in.Body.Wait)
		if err != nil || wait <= 0 || wait > maxPurgeWait {
			return nil, huma.Error400BadRequest(fmt.Sprintf("wait is %q; a duration of at most 1m is expected, such as 500ms or 5s", in.Body.Wait))
		}
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	purges := make([]cdn.Purge, len(in.Body.Purges))
	for i, item := range in.Body.Purges {
		purges[i] = cdn.Purge{
			ID: item.ID, Scope: cdn.PurgeScope(item.Scope), Target: item.Target, Host: item.Host, Soft: item.Soft, By: in.by,
		}
		if err := purges[i].Validate(); err != nil {
			return nil, huma.Error400BadRequest(fmt.Sprintf("purges[%d]: %v; nothing was purged", i, err))
		}
	}
	began := time.Now()
	outcomes := h.set.Purger.Purge(waiting, purges)
	report := reportOf(outcomes, time.Since(began))
	failed := 0
	for i, o := range outcomes {
		if o.Err != nil {
			failed++
			h.set.Log.WarnContext(ctx, "a purge was not carried out", "scope", purges[i].Scope, "target", purges[i].Target, "error", o.Err)
		}
	}
	switch {
	case failed > 0:
		return nil, purgeProblem(http.StatusServiceUnavailable,
			fmt.Sprintf("%d of %d purges were not carried out; sending them again with the same id is safe", failed, len(outcomes)), report)
	case len(report.Missing) > 0:
		return nil, purgeProblem(http.StatusGatewayTimeout,
			fmt.Sprintf("%d of %d nodes have not confirmed within %.3g s", len(report.Missing), len(report.Missing)+len(report.Confirmed), report.Duration), report)
	}
	return &purgeOutput{Body: report}, nil
}

func purgeProblem(status int, detail string, report PurgeReport) *PurgeError {
	return &PurgeError{
		ErrorModel:  huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail},
		PurgeReport: report,
	}
}

// reportOf puts together what became of the purges. A node has confirmed if it has confirmed each.
func reportOf(outcomes []PurgeOutcome, took time.Duration) PurgeReport {
	report := PurgeReport{Purges: make([]PurgeItemReport, len(outcomes)), Confirmed: []string{}, Missing: []string{}, Duration: took.Seconds()}
	known, missing := make(map[string]bool), make(map[string]bool)
	for i, o := range outcomes {
		item := PurgeItemReport{ID: o.ID, Sequence: o.Sequence, Missing: append([]string{}, o.Missing...)}
		if o.Err != nil {
			item.Error = "it was not carried out"
		}
		report.Purges[i] = item
		for _, node := range o.Confirmed {
			known[node] = true
		}
		for _, node := range o.Missing {
			known[node], missing[node] = true, true
		}
	}
	for _, node := range slices.Sorted(maps.Keys(known)) {
		if missing[node] {
			report.Missing = append(report.Missing, node)
		} else {
			report.Confirmed = append(report.Confirmed, node)
		}
	}
	return report
}
