package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The dashboard shows the viewer who is there, follows without being reloaded, and leads to every
// request of the session.
func TestTheDashboardShowsTheViewer(t *testing.T) {
	p := serve(t, "--test-channel")
	p.playable(t, "test", "index.m3u8")
	chromium := browser(t)
	dashboard, errs := tab(t, chromium, "http://"+p.private+"/")
	shows(t, dashboard, `Viewers\s+0\b`)

	viewer, _ := tab(t, chromium, "http://"+p.public+"/watch/test?player=hls")
	playing(t, viewer, 15*time.Second)
	w, err := watch(viewer)
	if err != nil {
		t.Fatal(err)
	}
	shows(t, dashboard, `Viewers\s+1\b`)
	shows(t, dashboard, `Average bitrate\s+[0-9.]+ [kM]bit/s`)
	shows(t, dashboard, `Hit ratio\s+[0-9.]+ %`)
	shows(t, dashboard, `Requests\s+[0-9.]+ /s`)
	shows(t, dashboard, `test\s+(●\s*)?Running\s+H\.264 1280 × 720`)
	screenshot(t, dashboard, "dashboard")

	session, more := tab(t, chromium, "http://"+p.private+"/sessions/"+w.SID)
	shows(t, session, regexp.QuoteMeta(w.SID))
	shows(t, session, `Player\s+hls\.js`)
	shows(t, session, `video\.m3u8`) // the request table
	screenshot(t, session, "session")
	for page, thrown := range map[string][]string{"dashboard": errs.all(), "session page": more.all()} {
		if len(thrown) > 0 {
			t.Errorf("the %s threw %q", page, thrown)
		}
	}
}

// shows waits until the text of the page matches.
func shows(t *testing.T, page context.Context, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	waitFor(t, 15*time.Second, "the page shows "+pattern, func() error {
		text, err := evaluate[string](page, "document.body.innerText")
		if err != nil {
			return err
		}
		if !re.MatchString(text) {
			return fmt.Errorf("it reads %q", strings.Join(strings.Fields(text), " "))
		}
		return nil
	})
}
