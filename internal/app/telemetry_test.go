package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What players post comes in by the public listener only, and by any path below /cmcd.
func TestPlayersPostToThePublicListener(t *testing.T) {
	n := testNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := n.Run(ctx, func() {
		defer cancel()
		public, private := "http://"+n.public.Addr().String(), "http://"+n.private.Addr().String()
		const record = `e=t,sid="s-1",sn=0,ts=1754922645000,v=2` // by the same clock as the event
		const event = `{"event_id":"E1","session_id":"s-1","event_type":"pause","event_timestamp":"2025-08-11T14:30:45.123Z","quality":"HD"}`
		for _, test := range []struct {
			method, url, contentType, body string
			status                         int
		}{
			{http.MethodPost, public + "/cmcd", "application/cmcd", record, http.StatusNoContent},
			{http.MethodPost, public + "/cmcd/tv/lounge", "application/cmcd", record, http.StatusNoContent},
			{http.MethodPost, public + "/cmcd//tv/../lounge/", "application/cmcd", record, http.StatusNoContent},
			{http.MethodPost, public + "/api/v1/events", "application/json", event, http.StatusOK},
			{http.MethodPost, public + "/api/v1/events", "application/json", "{}", http.StatusBadRequest},
			{http.MethodPost, private + "/api/v1/events", "application/json", event, http.StatusNotFound},
			{http.MethodPut, public + "/api/v1/sessions/s-1/silence", "", "", http.StatusMethodNotAllowed}, // the pages are read only
		} {
			if got := send(t, test.method, test.url, test.contentType, test.body); got != test.status {
				t.Errorf("%s %s: status %d, want %d", test.method, test.url, got, test.status)
			}
		}
		for _, step := range []struct {
			method string
			status int
			then   int
		}{
			{http.MethodPut, http.StatusOK, http.StatusGone},
			{http.MethodDelete, http.StatusNoContent, http.StatusNoContent},
			{http.MethodDelete, http.StatusNotFound, http.StatusNoContent},
		} {
			if got := send(t, step.method, private+"/api/v1/sessions/s-1/silence", "", ""); got != step.status {
				t.Errorf("%s silence: status %d, want %d", step.method, got, step.status)
			}
			if got := send(t, http.MethodPost, public+"/cmcd", "", record); got != step.then {
				t.Errorf("the player is answered %d after %s, want %d", got, step.method, step.then)
			}
		}
		stored(t, n)
		describedEventIsTaken(t, public, private)
	})
	if err != nil {
		t.Error(err)
	}
}

// stored waits for what was posted: three records, as each went to another target, and the event.
func stored(t *testing.T, n *node) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; {
		batch, err := n.telemetry.store.Records(context.Background(), []string{"s-1"}, 10)
		if err != nil {
			t.Error(err)
			return
		}
		if len(batch.Reports) == 4 {
			for _, r := range batch.Reports {
				if (r.Path == "/api/v1/events") != (r.Playback != nil) || r.ClockOffset == nil {
					t.Errorf("report is %+v", r)
				}
			}
			return
		}
		if time.Now().After(until) {
			t.Errorf("%d reports are stored, want 4", len(batch.Reports))
			return
		}
	}
}

func send(t *testing.T, method, url, contentType, body string) (status int) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// describedEventIsTaken posts the event that the description of the API has as its example: it must have
// every field that the collector knows, and no other.
func describedEventIsTaken(t *testing.T, public, private string) {
	t.Helper()
	var description struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Examples []json.RawMessage }
			}
		}
	}
	resp, err := http.Get(private + "/api/v1/openapi.json")
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&description); err != nil {
		t.Error(err)
		return
	}
	event := map[string]json.RawMessage{}
	for field, property := range description.Components.Schemas["PlayerEvent"].Properties {
		event[field] = property.Examples[0]
	}
	if len(event) != 17 {
		t.Errorf("%d fields are described, want 17", len(event))
	}
	body, err := json.Marshal(event)
	if err != nil {
		t.Error(err)
		return
	}
	answer, err := http.Post(public+"/api/v1/events", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if want := `{"accepted":1,"duplicates":0,"dropped":0,"errors":[],"warnings":[]}`; err != nil || strings.TrimSpace(string(text)) != want {
		t.Errorf("the example is answered with %s, %v", text, err)
	}
}
