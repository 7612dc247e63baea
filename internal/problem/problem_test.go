package problem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteTellsStatusTitleAndDetail(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Etag", `"of the object that is not sent"`)
	w.Header().Set("X-Kept", "yes")
	Write(w, httptest.NewRequest("GET", "/x", nil), http.StatusBadGateway, `the origin said "no"`)

	if w.Code != 502 {
		t.Errorf("status = %d, want 502", w.Code)
	}
	var got Details
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("body %q: %v", w.Body, err)
	}
	want := Details{Title: "Bad Gateway", Status: 502, Detail: `the origin said "no"`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	wantHeader := http.Header{
		"Content-Type":           {"application/problem+json"},
		"Content-Length":         {strconv.Itoa(w.Body.Len())},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
		"X-Kept":                 {"yes"},
	}
	if d := cmp.Diff(wantHeader, w.Header()); d != "" {
		t.Error(d)
	}
}

func TestWriteKeepsTheCallersCacheControl(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Control", "max-age=1")
	Write(w, httptest.NewRequest("GET", "/x", nil), http.StatusNotFound, "")
	if got := w.Header().Get("Cache-Control"); got != "max-age=1" {
		t.Errorf("Cache-Control = %q", got)
	}
}

func TestWriteToHeadHasNoBody(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, httptest.NewRequest("HEAD", "/x", nil), 999, "odd")
	if w.Body.Len() != 0 {
		t.Errorf("body = %q", w.Body)
	}
	if w.Header().Get("Content-Length") == "0" {
		t.Error("Content-Length of a HEAD answer is that of the GET")
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 200},
		{fs.ErrNotExist, 404},
		{fmt.Errorf("read %q: %w", "a/b", os.ErrNotExist), 404},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}, 403},
		{fs.ErrExist, 409},
		{fs.ErrInvalid, 400},
		{context.DeadlineExceeded, 504},
		{os.ErrDeadlineExceeded, 504},
		{context.Canceled, 503},
		{&http.MaxBytesError{Limit: 1}, 413},
		{errors.New("anything"), 500},
	} {
		if got := Status(tt.err); got != tt.want {
			t.Errorf("Status(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}
