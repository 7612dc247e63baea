package webui

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"
)

// The pages of the front end.
const (
	dashboardPage = "index.html"
	watchPage     = "watch.html"
)

// assets is the directory whose files have the hash of their content in their names: what such a
// name stands for never changes.
const assets = "assets/"

// Settings are what a [UI] is made of.
type Settings struct {
	// FS holds the built front end; its root holds the pages.
	FS  fs.FS
	Log *slog.Logger
}

// UI serves the front end.
type UI struct {
	fs  fs.FS
	log *slog.Logger
}

// New returns the front end in a file system.
func New(set Settings) (*UI, error) {
	if set.FS == nil {
		return nil, errors.New("webui: FS must be set")
	}
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	return &UI{fs: set.FS, log: set.Log}, nil
}

// Built says whether there is a front end to serve.
func (u *UI) Built() bool {
	_, err := fs.Stat(u.fs, dashboardPage)
	return err == nil
}

// Dashboard serves the dashboard: its files, and the page itself for every other path but those of
// the API, so that a link into the dashboard works.
func (u *UI) Dashboard() http.Handler {
	return u.handler(dashboardPolicy, func(name string) string {
		if name == "api" || strings.HasPrefix(name, "api/") {
			return ""
		}
		return dashboardPage
	})
}

// Watch serves the watch page at /watch and every path below it, and its files.
func (u *UI) Watch() http.Handler {
	return u.handler(watchPolicy, func(name string) string {
		if name == "watch" || strings.HasPrefix(name, "watch/") {
			return watchPage
		}
		return ""
	})
}

// The pages load nothing from anywhere else. Mantine writes style elements; hls.js works in a
// worker and all players feed the picture from a blob; the feed is a WebSocket, which 'self' does
// not cover in every browser.
const (
	commonPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
		"font-src 'self' data:; connect-src 'self' ws: wss: blob:; media-src 'self' blob:; worker-src 'self' blob:; " +
		"manifest-src 'self'; base-uri 'none'; form-action 'self'; "
	dashboardPolicy = commonPolicy + "frame-ancestors 'none'"
	watchPolicy     = commonPolicy + "frame-ancestors 'self'"
)

// handler serves the files of the front end, and for other paths the page that page names; "" is
// none.
func (u *UI) handler(policy string, page func(name string) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are allowed here", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		if contentType := typeOf(name); contentType != "" && path.Ext(name) != ".html" {
			if u.serve(w, r, name, contentType) {
				return
			}
			if strings.HasPrefix(name, assets) {
				http.NotFound(w, r)
				return
			}
		}
		name = page(name)
		switch {
		case name == "":
			http.NotFound(w, r)
		case !u.serve(w, r, name, typeOf(name)):
			u.notBuilt(w)
		}
	})
}

// serve sends one file, if there is one.
func (u *UI) serve(w http.ResponseWriter, r *http.Request, name, contentType string) bool {
	content, err := fs.ReadFile(u.fs, name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			u.log.Error("file of the front end cannot be read", "name", name, "error", err)
		}
		return false
	}
	sum := sha256.Sum256(content)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache")
	if strings.HasPrefix(name, assets) {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	return true
}

const notBuiltPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Weir</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em}</style>
<h1>The front end is not built</h1>
<p>This Weir was built without its web pages. Run <code>make web</code> in the source tree and build
Weir again. Everything else works: streams, the API at <code>/api/v1/</code> and MCP at <code>/mcp</code>.</p>
</html>
`

func (u *UI) notBuilt(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	if _, err := w.Write([]byte(notBuiltPage)); err != nil {
		u.log.Debug("page was not sent", "error", err)
	}
}

// typeOf is the media type of a file of the front end, "" for what is none. The table of the
// operating system is not asked: it differs from machine to machine.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".ico":
		return "image/x-icon"
	case ".webp":
		return "image/webp"
	case ".woff2":
		return "font/woff2"
	case ".wasm":
		return "application/wasm"
	case ".txt":
		return "text/plain; charset=utf-8"
	default:
		return ""
	}
}
