package rest

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Examine looks at one piece of CMCD: what it says and what is wrong with it. It is called with
// nothing but what a stranger has sent, so its cost must be linear in that.
type Examine func(CMCDText) iter.Seq[CMCDRecord]

// CMCDText is CMCD as a player has sent it.
type CMCDText struct {
	Kind        string `json:"kind" enum:"query,headers,record,body,json" doc:"What the text is: the query of a request, its header lines, a record that is not percent-encoded, the body of a report, or the JSON of version 1."`
	Text        string `json:"text" example:"CMCD=br%3D3000%2Cv%3D2"`
	ContentType string `json:"content_type,omitempty" doc:"Media type of a body; if it is absent it is not looked at." example:"application/cmcd"`
}

// CMCDIssue is one thing that is wrong with a record.
type CMCDIssue struct {
	Severity string `json:"severity" enum:"error,warning" doc:"An error is against a MUST of the specification, a warning against a SHOULD."`
	Key      string `json:"key,omitempty" doc:"Absent if it is of the record as a whole."`
	Rule     string `json:"rule" doc:"A stable word." example:"type"`
	Section  string `json:"section,omitempty" example:"CTA-5004-B §4.3"`
	Message  string `json:"message" doc:"What was found and what was expected."`
}

// CMCDRecord is what is known of one record.
type CMCDRecord struct {
	Index    int            `json:"index" doc:"Which of the texts it comes from, from 0."`
	Record   int            `json:"record,omitempty" doc:"Which record of a body or JSON array, from 1."`
	Version  int            `json:"version,omitempty" doc:"Version of CMCD; absent if the record cannot be read." example:"2"`
	Mode     string         `json:"mode" enum:"request,event"`
	Values   map[string]any `json:"values,omitempty" doc:"By key: booleans, numbers and strings; lists are arrays of {value, type, range}."`
	Warnings []string       `json:"warnings" doc:"What Weir's own decoder put up with."`
	Issues   []CMCDIssue    `json:"issues"`
	Error    string         `json:"error,omitempty" doc:"Why there are no values."`
}

// CMCDRecords is the answer to texts with CMCD.
type CMCDRecords struct {
	Records   []CMCDRecord `json:"records"`
	Truncated bool         `json:"truncated,omitempty" doc:"There are more records or issues than an answer has room for."`
}

// validationLimits bound what one request can ask for, and how many are looked at at a time.
type validationLimits struct {
	bytes, records, issues, atOnce int
	values                         bool // values are answered, not only what is wrong with them
}

var (
	operatorLimits = validationLimits{bytes: 1 << 20, records: 200, issues: 2000, atOnce: 4, values: true}
	// Anybody may ask on the public listener. What is spent on one request is bounded by its bytes, what
	// is spent on all of them by one at a time; the answer is at most some 100 kB.
	viewerLimits = validationLimits{bytes: 64 << 10, records: 50, issues: 200, atOnce: 1}
)

// validationPatience is how long a request waits for its turn.
const validationPatience = 2 * time.Second

// validation answers what is wrong with CMCD. It keeps nothing.
type validation struct {
	examine Examine
	limits  validationLimits
	turns   chan struct{}
}

func newValidation(examine Examine, limits validationLimits) *validation {
	return &validation{examine: examine, limits: limits, turns: make(chan struct{}, limits.atOnce)}
}

// NewViewersValidation returns the validation of CMCD for the watch page, which answers at path and
// is for the public listener.
func NewViewersValidation(path string, examine Examine) http.Handler {
	mux := http.NewServeMux()
	config := description("")
	config.OpenAPIPath = ""
	newValidation(examine, viewerLimits).register(humago.New(mux, config), path)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

type validationInput struct {
	Body struct {
		Records []CMCDText `json:"records" minItems:"1" maxItems:"200"`
	}
}

type validationOutput struct{ Body CMCDRecords }

func (v *validation) register(api huma.API, path string) {
	huma.Register(api, huma.Operation{
		OperationID: "validateCMCD", Method: http.MethodPost, Path: path, Tags: []string{"cmcd"},
		Summary:      "What CMCD says, and what is wrong with it by the letter of CTA-5004 and CTA-5004-B; nothing is kept",
		MaxBodyBytes: int64(v.limits.bytes), BodyReadTimeout: 5 * time.Second,
		Errors: []int{http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable},
	}, v.validate)
}

func (v *validation) validate(ctx context.Context, in *validationInput) (*validationOutput, error) {
	if len(in.Body.Records) > v.limits.records {
		return nil, huma.Error422UnprocessableEntity("too many records", &huma.ErrorDetail{
			Location: "body.records", Message: "more records than are looked at at once", Value: len(in.Body.Records),
		})
	}
	patience := time.NewTimer(validationPatience)
	defer patience.Stop()
	select {
	case v.turns <- struct{}{}:
		defer func() { <-v.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-patience.C:
		return nil, huma.Error503ServiceUnavailable("too many others are asking; ask again later")
	}
	out := &validationOutput{Body: CMCDRecords{Records: []CMCDRecord{}}}
	room := v.limits.issues
	for i, text := range in.Body.Records {
		for record := range v.examine(text) {
			if len(out.Body.Records) == v.limits.records || room == 0 && len(record.Issues) > 0 {
				out.Body.Truncated = true
				return out, nil
			}
			record.Index = i
			if !v.limits.values {
				record.Values = nil
			}
			if len(record.Issues) > room {
				record.Issues, out.Body.Truncated = record.Issues[:room], true
			}
			room -= len(record.Issues)
			record.Warnings = append([]string{}, record.Warnings...)
			record.Issues = append([]CMCDIssue{}, record.Issues...)
			out.Body.Records = append(out.Body.Records, record)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return out, nil
}
