package rest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func (e *engines) Silence(session string, length time.Duration) time.Time {
	if e.silenced == nil {
		e.silenced = map[string]time.Duration{}
	}
	e.silenced[session] = length
	return noon.Add(length)
}

func (e *engines) Unsilence(session string) bool {
	_, ok := e.silenced[session]
	delete(e.silenced, session)
	return ok
}

func TestASessionIsSilenced(t *testing.T) {
	e := &engines{}
	h := newHandler(t, e)
	ask := func(method, target string) (int, Silence, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
		var s Silence
		if w.Code == http.StatusOK {
			if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
				t.Fatal(err)
			}
		}
		return w.Code, s, w.Body.String()
	}
	const target = "/api/v1/sessions/a%2Fb%20c/silence"
	status, got, body := ask(http.MethodPut, target+"?for=90m")
	if status != http.StatusOK || got.SessionID != "a/b c" || !got.Until.Equal(noon.Add(90*time.Minute)) || e.silenced["a/b c"] != 90*time.Minute {
		t.Errorf("status %d, %s, silenced %v", status, body, e.silenced)
	}
	if status, _, _ := ask(http.MethodDelete, target); status != http.StatusNoContent || len(e.silenced) != 0 {
		t.Errorf("end of a silence: status %d, silenced %v", status, e.silenced)
	}
	if status, _, body := ask(http.MethodDelete, target); status != http.StatusNotFound || !strings.Contains(body, "not silenced") {
		t.Errorf("end of no silence: status %d, %s", status, body)
	}
	if status, _, _ := ask(http.MethodPut, target); status != http.StatusOK || e.silenced["a/b c"] != 0 {
		t.Errorf("for the usual time: status %d, silenced %v", status, e.silenced)
	}
	for _, length := range []string{"soon", "-1s", "0s", "721h"} {
		if status, _, body := ask(http.MethodPut, target+"?for="+length); status != http.StatusBadRequest || !strings.Contains(body, "at most 720h") {
			t.Errorf("for %s: status %d, %s", length, status, body)
		}
	}
	// A page of another site can send a POST without asking, and a link is a GET.
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if status, _, _ := ask(method, target); status != http.StatusMethodNotAllowed {
			t.Errorf("%s: status %d, want 405", method, status)
		}
	}
}

// The events API is described here, but served where players are.
func TestEventsAreDescribedAndNotServed(t *testing.T) {
	h := newHandler(t, &engines{})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/events", strings.NewReader("{}")))
	if w.Code != http.StatusNotFound {
		t.Errorf("status %d, want 404", w.Code)
	}
	description, err := h.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/api/v1/events:", "PlayerEvent:", "EventsResult:", "application/x-ndjson"} {
		if !strings.Contains(string(description), want) {
			t.Errorf("the description has no %s", want)
		}
	}
}
