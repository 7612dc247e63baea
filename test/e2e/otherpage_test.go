package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// contentID is one that every careless parser trips over.
const contentID = `The "Tin", part 2 \ a=b; c (50%+) & d?`

// otherSite serves a page of another site than the program's, with the players that the watch page uses.
func otherSite(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/players.html") })
	mux.Handle("GET /players/", http.StripPrefix("/players/", http.FileServer(http.Dir("../../web/node_modules"))))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// otherPage is one playback on a page of another site.
type otherPage struct {
	sid  string
	ctx  context.Context
	errs *pageErrors
	wire *wire
}

type otherPlay struct {
	player, version, mode string
	collector             bool
	cid                   string
}

func (p *program) openOther(t *testing.T, chromium context.Context, site, sid string, play otherPlay) otherPage {
	t.Helper()
	media := map[string]string{"hls": "index.m3u8", "dash": "manifest.mpd", "shaka": "manifest.mpd"}[play.player]
	asked := url.Values{
		"player": {play.player}, "cmcd": {play.version}, "mode": {play.mode}, "sid": {sid}, "cid": {play.cid},
		"media": {"http://" + p.public + "/live/small/" + media},
	}
	if play.collector {
		asked.Set("collector", "http://"+p.public+"/cmcd/"+play.player)
	}
	page := otherPage{sid: sid}
	page.ctx, page.errs, page.wire = tappedTab(t, chromium, site+"/?"+asked.Encode(), false)
	return page
}

// played waits until the page has shown so many seconds of the stream.
func (o otherPage) played(t *testing.T, seconds float64) {
	t.Helper()
	waitFor(t, 60*time.Second, fmt.Sprintf("%s plays for %v s", o.sid, seconds), func() error {
		played, err := evaluate[float64](o.ctx, `window.played()`)
		if err != nil || played >= seconds {
			return err
		}
		said, err := evaluate[[]string](o.ctx, `window.errors`)
		return errors.Join(fmt.Errorf("it has played %.1f s, errors %q", played, said), err)
	})
}

func (o otherPage) stop(t *testing.T) {
	t.Helper()
	said, err := evaluate[[]string](o.ctx, `window.errors`)
	if err != nil {
		t.Fatal(err)
	}
	if thrown := o.errs.all(); len(said)+len(thrown) > 0 {
		t.Errorf("the player had errors %q, the page threw %q", said, thrown)
	}
	if _, err := evaluate[bool](o.ctx, `(window.stop(), true)`); err != nil {
		t.Fatal(err)
	}
}

// Players of another site say the same in headers, which cost them preflights, and report each event
// by itself. All play at once.
func TestPlayersOfOtherSitesAreMeasuredKeyByKey(t *testing.T) {
	p := serve(t)
	p.publish(t, "small",
		"-re", "-f", "lavfi", "-i", "testsrc2=size=256x144:rate=15",
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
	p.playable(t, "small", "index.m3u8")
	site, chromium := otherSite(t), browser(t)
	plays := []otherPlay{
		{player: "hls", version: "1", mode: "headers", cid: contentID},
		{player: "dash", version: "1", mode: "headers", cid: contentID},
		{player: "shaka", version: "1", mode: "headers", cid: contentID},
		{player: "hls", version: "2", mode: "headers", cid: contentID, collector: true},
		{player: "dash", version: "2", mode: "query", cid: contentID, collector: true},
		{player: "shaka", version: "2", mode: "headers", cid: contentID, collector: true},
	}
	pages := make([]otherPage, len(plays))
	for i, play := range plays {
		pages[i] = p.openOther(t, chromium, site, fmt.Sprintf("other-%s-%s", play.player, play.version), play)
	}
	for _, page := range pages {
		page.played(t, 6)
	}
	for i, page := range pages {
		t.Run(page.sid, func(t *testing.T) {
			page.stop(t)
			said := compareKeyByKey(t, p, page.sid, page.wire)
			if n := said.count(); n < 5 {
				t.Errorf("the browser sent only %d requests with CMCD", n)
			}
			if plays[i].collector {
				compareResponses(t, p, page.sid, said)
			}
		})
	}
}
