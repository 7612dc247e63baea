package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weir-stream/weir/internal/telemetry"
)

// fuzzed is a handler with low limits that forgets between two bodies.
type fuzzed struct {
	h *Handler
	t *testing.T
	n int // the reports that came of the last body
}

func newFuzzed(f *testing.F) *fuzzed {
	config := DefaultConfig()
	config.MaxBodyBytes, config.MaxRecordBytes, config.MaxRecords, config.MaxKeys, config.MaxSessionRecords = 4096, 512, 16, 8, 12
	z := &fuzzed{}
	h, err := New(Settings{Config: config, Accept: func(_ context.Context, reports []telemetry.Report) error {
		for i := range reports {
			if v := &reports[i].CMCD; v.Len() == 0 && len(v.Custom) == 0 {
				z.t.Error("a report says nothing")
			}
			if v := reports[i].ID.Version(); v != 7 && v != 8 {
				z.t.Errorf("report has the ID %v", reports[i].ID)
			}
		}
		z.n += len(reports)
		return nil
	}})
	if err != nil {
		f.Fatal(err)
	}
	z.h = h
	return z
}

func (z *fuzzed) post(t *testing.T, h http.Handler, contentType string, body []byte) *httptest.ResponseRecorder {
	z.t, z.n = t, 0
	z.h.state = newState(z.h.config)
	r := httptest.NewRequest(http.MethodPost, "/cmcd", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Prefer", "return=representation")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Whatever is posted, no player is provoked, and every record is accounted for.
func FuzzCollector(f *testing.F) {
	f.Add("application/cmcd", []byte("e=t,sid=\"a\",v=2\ne=ps,sta=r\n"))
	f.Add("application/cmcd", bytes.Repeat([]byte("e=t,sid=\"a\",v=2\n"), 300))
	f.Add("application/json", []byte(`[{"br":3000,"sid":"s"}]`))
	f.Add("application/json", []byte("{\"sid\":\"s\"\n{\"sid\":\"s\"}\n[1,2]"))
	f.Add("text/plain", []byte("\xff\n\n,,,\n("))
	z := newFuzzed(f)
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		w := z.post(t, z.h, contentType, body)
		n := z.n
		switch w.Code {
		case http.StatusOK, http.StatusGone:
		case http.StatusUnsupportedMediaType:
			return
		default:
			t.Fatalf("status %d", w.Code)
		}
		var answer cmcdAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		counts := map[string]int{}
		for i, record := range answer.Records {
			if record.Index != i {
				t.Errorf("record %d has the index %d", i, record.Index)
			}
			counts[record.Result]++
		}
		if counts["taken"] != n || answer.Accepted != n || answer.Duplicates != counts["duplicate"] || answer.Dropped != counts["dropped"]+answer.LeftOut ||
			answer.Accepted+answer.Duplicates+answer.Dropped != len(answer.Records)+answer.LeftOut {
			t.Errorf("answer %+v does not account for its %d records, of which %d were taken", answer.summary, len(answer.Records), n)
		}
		if lines := bytes.Count(body, []byte("\n")) + 1; len(answer.Records)+answer.LeftOut > lines && !bytes.ContainsAny(body, "[{,") {
			t.Errorf("%d records of %d lines", len(answer.Records)+answer.LeftOut, lines)
		}
	})
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(event(f)))
	f.Add([]byte("[" + event(f) + "," + event(f, "session_id") + "]"))
	f.Add([]byte(event(f) + "\n" + event(f, `event_id:"x"`, "buffering_events:1.5") + "\n{"))
	z := newFuzzed(f)
	events := z.h.Events()
	f.Fuzz(func(t *testing.T, body []byte) {
		w := z.post(t, events, "application/json", body)
		n := z.n
		var answer eventsAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("status %d: %v: %s", w.Code, err, w.Body)
		}
		good := answer.Accepted + answer.Duplicates
		switch {
		case answer.Accepted != n:
			t.Errorf("%d accepted, but %d taken", answer.Accepted, n)
		case w.Code == http.StatusOK && good == 0, w.Code == http.StatusBadRequest && (good > 0 || len(answer.Errors) == 0):
			t.Errorf("status %d with %+v", w.Code, answer)
		case w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusGone:
			t.Errorf("status %d", w.Code)
		case answer.Dropped > 0 && len(answer.Errors) == 0:
			t.Errorf("%d dropped and no word of it", answer.Dropped)
		}
	})
}

// However a body is taken apart, nothing of it is lost and nothing comes twice.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(`[{"a":"}"},{"b":[1,{"c":2}]} , 7 ,"x"]`), true)
	f.Add([]byte("{\"a\":1}\n{\n\"b\":2}\n{\"c\":\n"), true)
	f.Add([]byte("e=t\r\n\n  \xef\xbb\xbf"), false)
	f.Fuzz(func(t *testing.T, body []byte, jsonOnly bool) {
		split := func() *splitter {
			return newSplitter(&batch{api: &api{jsonOnly: jsonOnly}, data: body}, 64)
		}
		s := split()
		end, n := 0, 0
		for {
			raw, broken, unfinished, ok := s.next()
			if !ok {
				break
			}
			n++
			at := bytes.Index(body[end:], raw)
			if at < 0 || len(raw) == 0 {
				t.Fatalf("record %d, %q, is not behind the last one", n, raw)
			}
			end += at + len(raw)
			if s.json && !broken && raw[0] != '{' || unfinished && len(s.data) > 0 {
				t.Errorf("record %d is %q, broken %v, unfinished %v", n, raw, broken, unfinished)
			}
		}
		if s := split(); !s.json && s.rest() != n {
			t.Errorf("%d records are left, and %d came", split().rest(), n)
		}
	})
}
