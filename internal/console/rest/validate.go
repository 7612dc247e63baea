package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-stream/weir/internal/problem"
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

// CMCDTexts is what a request asks about.
type CMCDTexts struct {
	Records []CMCDText `json:"records" minItems:"1" maxItems:"200"`
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
	bytes, records, issues int
	atOnce                 int  // are looked at
	places                 int  // for those whose body is read, who wait, and whose answer is written
	values                 bool // values are answered, not only what is wrong with them
}

// Anybody may ask on the public listener. What is spent on one request is bounded by its bytes, what
// is spent on all of them by one at a time, and what is held of all of them by the places.
var (
	operatorLimits = validationLimits{bytes: 1 << 20, records: 200, issues: 2000, atOnce: 4, places: 16, values: true}
	viewerLimits   = validationLimits{bytes: 64 << 10, records: 50, issues: 200, atOnce: 1, places: 64}
)

const (
	// validationPatience is how long a request waits for its turn, validationBodyTime how long its body may take.
	validationPatience = 2 * time.Second
	validationBodyTime = 5 * time.Second

	// Texts of an answer are cut to so many bytes: they quote what came, and so could be as long as that.
	maxIssueKey, maxIssueMessage = 256, 1024
)

// validation answers what is wrong with CMCD. It keeps nothing. It stands beside the framework of the
// API, which decodes and checks a body before anybody has taken a turn, and says of each mistake in it
// which object it was in.
type validation struct {
	examine       Examine
	limits        validationLimits
	places, turns chan struct{}
}

func newValidation(examine Examine, limits validationLimits) *validation {
	return &validation{
		examine: examine, limits: limits,
		places: make(chan struct{}, limits.places), turns: make(chan struct{}, limits.atOnce),
	}
}

// NewViewersValidation returns the validation of CMCD for the watch page, which is for the public listener.
func NewViewersValidation(examine Examine) http.Handler { return newValidation(examine, viewerLimits) }

// describeValidation adds the validation at path to the description.
func describeValidation(api *huma.OpenAPI, path string) {
	schema := func(t reflect.Type) *huma.Schema { return api.Components.Schemas.Schema(t, true, "") }
	o := &huma.Operation{
		OperationID: "validateCMCD", Method: http.MethodPost, Path: path, Tags: []string{"cmcd"},
		Summary:     "What CMCD says, and what is wrong with it by the letter of CTA-5004 and CTA-5004-B; nothing is kept",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schema(reflect.TypeFor[CMCDTexts]())}}},
		Responses: map[string]*huma.Response{
			"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: schema(reflect.TypeFor[CMCDRecords]())}}},
		},
	}
	for _, status := range []int{
		http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusServiceUnavailable,
	} {
		o.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{problem.ContentType: {Schema: schema(reflect.TypeFor[huma.ErrorModel]())}},
		}
	}
	api.AddOperation(o)
}

// refusal is why a request is not answered. It repeats nothing of the request.
type refusal struct {
	status int
	detail string
}

func (r *refusal) Error() string { return r.detail }

func (v *validation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	answer, err := []byte(nil), error(&refusal{http.StatusServiceUnavailable, "too many others are asking; ask again later"})
	select {
	case v.places <- struct{}{}:
		defer func() { <-v.places }()
		answer, err = v.answer(w, r)
	default:
	}
	var refused *refusal
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer) // nobody is left to be told that it could not be written
	case errors.As(err, &refused):
		if refused.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		problem.Write(w, r, refused.status, refused.detail)
	default: // the client has gone
		problem.Write(w, r, problem.Status(err), "stopped before it was done")
	}
}

// answer returns the body of an answer. The turn is taken when the request is here, and given back
// before the answer goes: a slow client holds up nobody.
func (v *validation) answer(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// Pages of other origins cannot send this type without being asked whether they may.
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, &refusal{http.StatusUnsupportedMediaType, "expected a body of type application/json"}
	}
	body, err := v.read(w, r)
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(validationPatience)
	defer patience.Stop()
	select {
	case v.turns <- struct{}{}:
		defer func() { <-v.turns }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-patience.C:
		return nil, &refusal{http.StatusServiceUnavailable, "too many others are asking; ask again later"}
	}
	texts, err := v.texts(body)
	if err != nil {
		return nil, err
	}
	records, err := v.validate(r.Context(), texts)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(records); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// read reads the body, up to its limit.
func (v *validation) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// The server sets a deadline of its own with every read, which is for a body that stalls. This one
	// is for the whole, so it is held by a timer; what cannot have a deadline has none.
	control, began := http.NewResponseController(w), time.Now()
	timer := time.AfterFunc(validationBodyTime, func() { _ = control.SetReadDeadline(time.Now()) })
	defer timer.Stop()
	from := http.MaxBytesReader(w, r.Body, int64(v.limits.bytes))
	var body []byte
	for {
		body = slices.Grow(body, max(512, len(body))) // with what has come, not with what is said to come
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case errors.As(err, new(*http.MaxBytesError)):
			return nil, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes", v.limits.bytes)}
		case errors.Is(err, os.ErrDeadlineExceeded), err == nil && time.Since(began) > validationBodyTime:
			w.Header().Set("Connection", "close")
			return nil, &refusal{http.StatusRequestTimeout, fmt.Sprintf("the body did not come within %v", validationBodyTime)}
		case err != nil:
			w.Header().Set("Connection", "close")
			return nil, &refusal{http.StatusBadRequest, "the body could not be read"}
		}
	}
}

// texts decodes a body, which is [CMCDTexts] and nothing else. It gives up at the first mistake.
func (v *validation) texts(body []byte) ([]CMCDText, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	for _, want := range []json.Token{json.Delim('{'), "records", json.Delim('[')} {
		if err := expect(d, want); err != nil {
			return nil, err
		}
	}
	var texts []CMCDText
	for d.More() {
		if len(texts) == v.limits.records {
			return nil, &refusal{http.StatusUnprocessableEntity, fmt.Sprintf("more than %d records", v.limits.records)}
		}
		var text struct {
			Kind        string  `json:"kind"`
			Text        *string `json:"text"`
			ContentType string  `json:"content_type"`
		}
		switch err := d.Decode(&text); {
		case err != nil:
			return nil, undecodable(err)
		case text.Text == nil || !slices.Contains([]string{"query", "headers", "record", "body", "json"}, text.Kind):
			return nil, &refusal{http.StatusUnprocessableEntity, fmt.Sprintf("record %d: expected a kind (query, headers, record, body or json) and a text", len(texts))}
		}
		texts = append(texts, CMCDText{Kind: text.Kind, Text: *text.Text, ContentType: text.ContentType})
	}
	for _, want := range []json.Token{json.Delim(']'), json.Delim('}')} {
		if err := expect(d, want); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, &refusal{http.StatusBadRequest, "the body goes on behind its JSON"}
	}
	if len(texts) == 0 {
		return nil, &refusal{http.StatusUnprocessableEntity, "no records"}
	}
	return texts, nil
}

func expect(d *json.Decoder, want json.Token) error {
	if got, err := d.Token(); err != nil {
		return undecodable(err)
	} else if got != want {
		return undecodable(nil)
	}
	return nil
}

// undecodable is the refusal of what the decoder does not take. The decoder's own words quote the body.
func undecodable(err error) error {
	if errors.As(err, new(*json.SyntaxError)) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &refusal{http.StatusBadRequest, "the body is not JSON"}
	}
	return &refusal{http.StatusUnprocessableEntity, `expected {"records":[{"kind":"…","text":"…","content_type":"…"}]}, without any other members`}
}

func (v *validation) validate(ctx context.Context, texts []CMCDText) (*CMCDRecords, error) {
	out := &CMCDRecords{Records: []CMCDRecord{}}
	room := v.limits.issues
	for i, text := range texts {
		for record := range v.examine(text) {
			if len(out.Records) == v.limits.records || room == 0 && len(record.Issues) > 0 {
				out.Truncated = true
				return out, nil
			}
			if len(record.Issues) > room {
				record.Issues, out.Truncated = record.Issues[:room], true
			}
			room -= len(record.Issues)
			if !v.limits.values {
				record.Values = nil
			}
			record.Index, record.Error = i, cutTo(record.Error, maxIssueMessage)
			record.Warnings = append([]string{}, record.Warnings...)
			record.Issues = append([]CMCDIssue{}, record.Issues...)
			for j := range record.Issues {
				issue := &record.Issues[j]
				issue.Key, issue.Message = cutTo(issue.Key, maxIssueKey), cutTo(issue.Message, maxIssueMessage)
			}
			out.Records = append(out.Records, record)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// cutTo cuts a text to so many bytes, and says so with an ellipsis.
func cutTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
