package edge

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/cdn/edge/message"
)

var alphabet = "abcdefghijklmnopqrstuvwxyz"

const alphabetDate = "Sun, 01 Mar 2026 12:00:00 GMT"

func newAlphabetEdge(t testing.TB) *harness {
	return newHarness(t, func(*http.Request) (*http.Response, error) {
		return reply(200, alphabet, "Cache-Control", "max-age=60", "Content-Type", "text/plain",
			"Etag", `"abc"`, "Last-Modified", alphabetDate), nil
	})
}

// conditionalRequests are requests that http.ServeContent, which has been looked at by many, is to
// answer like the edge.
var conditionalRequests = [][]string{
	{},
	{"Range", "bytes=0-0"},
	{"Range", "bytes=0-"},
	{"Range", "bytes=5-9"},
	{"Range", "bytes=25-25"},
	{"Range", "bytes=25-99"},
	{"Range", "bytes=-5"},
	{"Range", "bytes=-99"},
	{"Range", "bytes=26-"},
	{"Range", "bytes=30-40"},
	{"Range", "bytes= 1-2"},
	{"Range", "bytes=1-2 "},
	{"If-None-Match", `"abc"`},
	{"If-None-Match", `W/"abc"`},
	{"If-None-Match", `"x", "abc"`},
	{"If-None-Match", `"x"`},
	{"If-None-Match", "*"},
	{"If-None-Match", "abc"},
	{"If-None-Match", `"x"`, "If-Modified-Since", alphabetDate},
	{"If-Modified-Since", alphabetDate},
	{"If-Modified-Since", "Sun, 01 Mar 2026 12:00:01 GMT"},
	{"If-Modified-Since", "Sun, 01 Mar 2026 11:59:59 GMT"},
	{"If-Modified-Since", "yesterday"},
	{"Range", "bytes=5-9", "If-None-Match", `"abc"`},
	{"Range", "bytes=5-9", "If-None-Match", `"x"`},
	{"Range", "bytes=5-9", "If-Range", `"abc"`},
	{"Range", "bytes=5-9", "If-Range", `"x"`},
	{"Range", "bytes=5-9", "If-Range", `W/"abc"`},
	{"Range", "bytes=5-9", "If-Range", alphabetDate},
	{"Range", "bytes=5-9", "If-Range", "Sun, 01 Mar 2026 12:00:01 GMT"},
	{"Range", "bytes=99-", "If-Range", `"x"`},
}

func TestConditionsAndRangesAreAnsweredLikeServeContent(t *testing.T) {
	hs := newAlphabetEdge(t)
	modified, _ := http.ParseTime(alphabetDate)
	for _, method := range []string{"GET", "HEAD"} {
		for _, fields := range conditionalRequests {
			if method == "HEAD" && len(fields) > 0 && fields[0] == "Range" {
				continue // a range of HEAD is nothing (RFC 9110 §14.2); ServeContent thinks otherwise
			}
			t.Run(method+" "+strings.Join(fields, " "), func(t *testing.T) {
				got := hs.do(method, "/a.txt", fields...)
				want := httptest.NewRecorder()
				want.Header().Set("Etag", `"abc"`)
				want.Header().Set("Content-Type", "text/plain")
				r := httptest.NewRequest(method, "/a.txt", nil)
				for i := 0; i < len(fields); i += 2 {
					r.Header.Add(fields[i], fields[i+1])
				}
				http.ServeContent(want, r, "", modified, bytes.NewReader([]byte(alphabet)))
				if got.Code != want.Code {
					t.Fatalf("status = %d, want %d", got.Code, want.Code)
				}
				if got.Code != 416 && got.Body.String() != want.Body.String() {
					t.Errorf("body = %q, want %q", got.Body, want.Body)
				}
				names := []string{"Content-Range"}
				if got.Code != 416 {
					names = append(names, "Content-Length", "Etag", "Last-Modified", "Content-Type")
				}
				for _, name := range names {
					if d := cmp.Diff(want.Header()[name], got.Header()[name]); d != "" {
						t.Errorf("%s: %s", name, d)
					}
				}
				if n := hs.row(t, -1).Bytes; n != int64(got.Body.Len()) {
					t.Errorf("the row says %d bytes, there are %d", n, got.Body.Len())
				}
			})
		}
	}
	if n := hs.fetches(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestSeveralRangesGetTheWhole(t *testing.T) {
	hs := newAlphabetEdge(t)
	if w := hs.get("/a.txt", "Range", "bytes=0-1,4-5"); w.Code != 200 || w.Body.String() != alphabet {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := hs.do("HEAD", "/a.txt", "Range", "bytes=0-1"); w.Code != 200 || w.Header().Get("Content-Length") != "26" {
		t.Errorf("HEAD with a range: %d, %v", w.Code, w.Header())
	}
}

func TestRangesThatTheStandardLibraryDoesNotKnow(t *testing.T) {
	hs := newAlphabetEdge(t)
	for header, want := range map[string]string{
		"BYTES=1-2":                       "bytes 1-2/26", // units are case-insensitive (RFC 9110 §14.1)
		"bytes=0-99999999999999999999999": "bytes 0-25/26",
		"bytes=99999999999999999999999-":  "bytes */26",
		"bytes=-0":                        "bytes */26",
		"bytes=5-4":                       "", // not a range, so it is ignored
		"pages=1-2":                       "",
		"bytes=":                          "",
		"bytes=-":                         "",
		"bytes=a-b":                       "",
	} {
		if got := hs.get("/a.txt", "Range", header).Header().Get("Content-Range"); got != want {
			t.Errorf("%s: Content-Range = %q, want %q", header, got, want)
		}
	}
}

func TestHeadFetchesTheObjectOnce(t *testing.T) {
	hs := newAlphabetEdge(t)
	w := hs.do("HEAD", "/a.txt")
	if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "26" {
		t.Errorf("HEAD: %d %q %v", w.Code, w.Body, w.Header())
	}
	if row := hs.row(t, 0); row.Bytes != 0 || row.Method != "HEAD" || row.CacheStatus != "miss" {
		t.Errorf("row = %+v", row)
	}
	if w := hs.get("/a.txt"); w.Body.String() != alphabet || hs.fetches() != 1 {
		t.Errorf("GET after HEAD: %q after %d fetches", w.Body, hs.fetches())
	}
	if m := hs.asked[0].Method; m != "GET" {
		t.Errorf("the origin was asked with %s", m)
	}
}

func FuzzParseRange(f *testing.F) {
	for _, fields := range conditionalRequests {
		if len(fields) > 0 && fields[0] == "Range" {
			f.Add(fields[1], int64(26))
		}
	}
	f.Fuzz(func(t *testing.T, header string, length int64) {
		if length < 0 {
			t.Skip()
		}
		got, result := message.ParseRange(header, length)
		if result == message.OnePart && (got.Start < 0 || got.Start >= got.End || got.End > length) {
			t.Fatalf("message.ParseRange(%q, %d) = %+v", header, length, got)
		}
		// The standard library agrees about each header that it and we understand.
		if length > 1<<12 || length == 0 || strings.ContainsAny(header, ",\r\n\x00") || header == "" {
			return
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Range"] = []string{header}
		http.ServeContent(w, r, "a.txt", time.Time{}, bytes.NewReader(make([]byte, length)))
		switch {
		case w.Code == 206 && result != message.OnePart:
			// Spaces inside of the spec, which the standard library tolerates, are ignored by us.
			if !strings.ContainsAny(header, " \t\v\f+-_") {
				t.Errorf("message.ParseRange(%q, %d) = %v, the standard library gives a part", header, length, result)
			}
		case w.Code == 206:
			if want := w.Header().Get("Content-Range"); message.ContentRange(got, length) != want {
				t.Errorf("message.ParseRange(%q, %d) = %q, want %q", header, length, message.ContentRange(got, length), want)
			}
		case w.Code == 200 && result != message.WholeObject:
			t.Errorf("message.ParseRange(%q, %d) = %v, the standard library gives the whole", header, length, result)
		}
	})
}
