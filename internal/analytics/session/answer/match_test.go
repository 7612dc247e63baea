package answer

import (
	"maps"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/telemetry"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestURLs(t *testing.T) {
	for address, want := range map[string]string{
		"https://cdn.example/live/a.m4s?x=1&CMCD=br%3D1": "/live/a.m4s", "/live/a.m4s": "/live/a.m4s", "live//./a.m4s": "live/a.m4s",
		"../../live/a.m4s": "live/a.m4s", "mailto:a": "", "https://cdn.example": "", "http://[": "", "": "",
	} {
		if r, ok := Read(address); r.Path != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", address, r.Path, ok, want)
		}
	}
}

// The session's tests, and those on captured players, say what makes a pair; this is what holds whoever asks.
func TestMatch(t *testing.T) {
	row := func(at time.Duration, path, query string) telemetry.Request {
		return telemetry.Request{Time: noon.Add(at), Path: path, Query: query, Host: "edge.example", Status: 200}
	}
	response := func(address string, from, to time.Duration) Response {
		r, ok := Read(address)
		if !ok {
			t.Fatal(address)
		}
		r.Start, r.End, r.Received = noon.Add(from), noon.Add(to), noon.Add(to)
		return r
	}
	requests := []telemetry.Request{
		row(0, "/a.m3u8", ""), row(time.Second, "/a.m3u8", ""), row(2*time.Second, "/v/1.m4s", "t=1"), row(2*time.Second, "/w/1.m4s", ""),
	}
	got := Match(requests, []Response{
		response("/a.m3u8", time.Second, 1100*time.Millisecond),
		response("/a.m3u8", time.Second, 1100*time.Millisecond), // the row is taken, and no other is near
		response("v/1.m4s?t=1", 1900*time.Millisecond, 3*time.Second),
		response("/w/1.m4s", 5*time.Second, 6*time.Second), // asked for after the row was answered
		response("/v/1.m4s?t=2", 1900*time.Millisecond, 3*time.Second),
	})
	if want := map[int]int{1: 0, 2: 2}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := Match(requests, nil); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
