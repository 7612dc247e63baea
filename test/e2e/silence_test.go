package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// silence tells the program that the session is to post nothing more.
func (p *program) silence(t *testing.T, sid string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+p.private+"/api/v1/sessions/"+sid+"/silence", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if code := status(t, req); code < 200 || code > 299 {
		t.Fatalf("silence %s: status %d", sid, code)
	}
}

func TestASilencedSessionIsRefused(t *testing.T) {
	p := serve(t)
	line := func(sid string) string {
		return fmt.Sprintf(`e=ps,sid=%q,sta=p,ts=%d,v=2`, sid, time.Now().UnixMilli())
	}
	p.silence(t, "silent")
	if got := p.report(t, "/cmcd/here", "application/cmcd", line("silent")); got != http.StatusGone {
		t.Errorf("a silenced session posts: status %d, want 410", got)
	}
	if got := p.report(t, "/cmcd/here", "application/cmcd", line("another")); got != http.StatusNoContent {
		t.Errorf("another session posts: status %d, want 204", got)
	}
}

// A session that is silenced is refused once; then its player says nothing more, and plays on.
func TestASilencedPlayerPostsNothingMore(t *testing.T) {
	p := serve(t)
	p.publish(t, "small",
		"-re", "-f", "lavfi", "-i", "testsrc2=size=256x144:rate=15",
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
	p.playable(t, "small", "index.m3u8")
	site, chromium := otherSite(t), browser(t)
	var pages []otherPage
	for _, player := range []string{"hls", "shaka"} {
		pages = append(pages, p.openOther(t, chromium, site, "silent-"+player, otherPlay{
			player: player, version: "2", mode: "query", cid: contentID, collector: true,
		}))
	}
	for _, page := range pages {
		page.played(t, 3)
		p.silence(t, page.sid)
	}
	for _, page := range pages {
		t.Run(page.sid, func(t *testing.T) {
			gone, posts := 0, 0
			waitFor(t, 20*time.Second, "a POST is answered with 410", func() error {
				gone, posts = page.posts(t)
				if gone == 0 {
					return fmt.Errorf("%d POSTs, none refused", posts)
				}
				return nil
			})
			page.played(t, 9)
			if now, all := page.posts(t); now > gone+2 || all > posts+2 { // what was under way
				t.Errorf("%d POSTs were refused when the player had to stop, then %d of %d", gone, now, all)
			}
		})
	}
}

// dash.js takes every answer but 2xx for a fault of the server, and sends all of its queue again at each
// event: a silence that it does not understand must not provoke it.
func TestAPlayerThatDoesNotUnderstandSilenceIsNotProvoked(t *testing.T) {
	p := serve(t)
	p.publish(t, "small",
		"-re", "-f", "lavfi", "-i", "testsrc2=size=256x144:rate=15",
		"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
	p.playable(t, "small", "index.m3u8")
	page := p.openOther(t, browser(t), otherSite(t), "silent-dash", otherPlay{
		player: "dash", version: "2", mode: "query", cid: contentID, collector: true,
	})
	page.played(t, 3)
	_, before := page.posts(t)
	p.silence(t, page.sid)
	page.played(t, 12)
	if gone, all := page.posts(t); gone == 0 || all > before+60 { // it has some three reports a second
		t.Errorf("%d POSTs before the silence, %d after it, of which %d were refused", before, all-before, gone)
	}
}

// posts counts the page's POSTs of reports, and how many of them were answered with 410.
func (o otherPage) posts(t *testing.T) (gone, all int) {
	t.Helper()
	said, err := o.wire.said(o.sid)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range said.posts {
		if status == http.StatusGone {
			gone++
		}
	}
	return gone, len(said.posts)
}
