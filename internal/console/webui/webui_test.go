package webui

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func built() fstest.MapFS {
	return fstest.MapFS{
		"index.html":              {Data: []byte("the dashboard")},
		"watch.html":              {Data: []byte("the watch page")},
		"assets/main-1a2b3c4d.js": {Data: []byte("code")},
		"favicon.svg":             {Data: []byte("<svg/>")},
		"README.md":               {Data: []byte("a note")},
	}
}

func ask(t *testing.T, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPathsOfTheTwoListeners(t *testing.T) {
	ui, err := New(Settings{FS: built()})
	if err != nil {
		t.Fatal(err)
	}
	dashboard, watch := ui.Dashboard(), ui.Watch()
	cases := map[string]struct {
		handler http.Handler
		path    string
		status  int
		body    string
		cache   string
	}{
		"dashboard":                    {dashboard, "/", 200, "the dashboard", "no-cache"},
		"link into the dashboard":      {dashboard, "/sessions/5c3f.x", 200, "the dashboard", "no-cache"},
		"index by its name":            {dashboard, "/index.html", 200, "the dashboard", "no-cache"},
		"asset of the dashboard":       {dashboard, "/assets/main-1a2b3c4d.js", 200, "code", "public, max-age=31536000, immutable"},
		"file beside the assets":       {dashboard, "/favicon.svg", 200, "<svg/>", "no-cache"},
		"asset of an older build":      {dashboard, "/assets/main-00000000.js", 404, "", ""},
		"path of the API that is none": {dashboard, "/api/v1/nothing", 404, "", ""},
		"watch page of a stream":       {watch, "/watch/sport/final", 200, "the watch page", "no-cache"},
		"watch page of none":           {watch, "/watch", 200, "the watch page", "no-cache"},
		"asset of the watch page":      {watch, "/assets/main-1a2b3c4d.js", 200, "code", "public, max-age=31536000, immutable"},
		"dashboard on the public side": {watch, "/", 404, "", ""},
		"index on the public side":     {watch, "/index.html", 404, "", ""},
		"way out of the directory":     {watch, "/watch/../../etc/passwd", 404, "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := ask(t, c.handler, http.MethodGet, c.path)
			if r.StatusCode != c.status || r.Header.Get("Cache-Control") != c.cache {
				t.Errorf("answer %d, Cache-Control %q; want %d, %q", r.StatusCode, r.Header.Get("Cache-Control"), c.status, c.cache)
			}
			if got := body(t, r); c.body != "" && got != c.body {
				t.Errorf("body %q, want %q", got, c.body)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	ui, err := New(Settings{FS: built()})
	if err != nil {
		t.Fatal(err)
	}
	r := ask(t, ui.Watch(), http.MethodGet, "/watch/test")
	policy := r.Header.Get("Content-Security-Policy")
	for _, need := range []string{"script-src 'self';", "worker-src 'self' blob:", "media-src 'self' blob:", "connect-src 'self' ws: wss:", "default-src 'none'"} {
		if !strings.Contains(policy, need) {
			t.Errorf("policy %q lacks %q", policy, need)
		}
	}
	if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("headers = %v", r.Header)
	}
	tag := r.Header.Get("ETag")
	if again := ask(t, ui.Watch(), http.MethodGet, "/watch/test", "If-None-Match", tag); again.StatusCode != http.StatusNotModified {
		t.Errorf("with the same ETag: %d, want 304", again.StatusCode)
	}
	if post := ask(t, ui.Dashboard(), http.MethodPost, "/"); post.StatusCode != http.StatusMethodNotAllowed || post.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", post.StatusCode)
	}
}

func TestFrontEndThatIsNotBuilt(t *testing.T) {
	ui, err := New(Settings{FS: fstest.MapFS{"README.md": {Data: []byte("a note")}}})
	if err != nil {
		t.Fatal(err)
	}
	if ui.Built() {
		t.Error("Built = true")
	}
	for target, h := range map[string]http.Handler{"/": ui.Dashboard(), "/watch/test": ui.Watch()} {
		r := ask(t, h, http.MethodGet, target)
		if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body(t, r), "make web") {
			t.Errorf("GET %s: %d, want the page that says how to build", target, r.StatusCode)
		}
	}
}
