package challenge_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A browser works and is let in, with the browser's own SHA-256 and, where a page without TLS has none, with
// the script's.
func TestABrowserIsLetIn(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("there is no chromium")
	}
	c, err := challengeOf("browser's secret")
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan error, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/page" {
			http.NotFound(w, r)
			return
		}
		if cookie, err := r.Cookie("weir-work"); err == nil {
			err := c.Verify(cookie.Value, viewer, time.Now())
			answers <- err
			if err == nil {
				_, _ = w.Write([]byte("let in"))
				return
			}
		}
		body, policy := c.Page(viewer, time.Now())
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write(body)
	}))
	defer server.Close()
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("host-resolver-rules", "MAP insecure.test 127.0.0.1"))
	defer cancel()
	browser, cancelBrowser := chromedp.NewContext(allocator)
	defer cancelBrowser()
	for _, test := range []struct {
		name, address string
		secure        bool
	}{
		{"WebCrypto", server.URL, true},
		{"the script's own", strings.Replace(server.URL, "127.0.0.1", "insecure.test", 1), false},
	} {
		if err := chromedp.Do(browser, chromedp.Navigate(test.address+"/page")); err != nil {
			t.Fatalf("%s: open the page: %v", test.name, err)
		}
		select {
		case err := <-answers:
			if err != nil {
				t.Errorf("%s: the answer is refused: %v", test.name, err)
			}
		case <-time.After(60 * time.Second):
			t.Fatalf("%s: there is no answer", test.name)
		}
		secure, err := chromedp.Run(browser, chromedp.Evaluate[bool]("window.isSecureContext"))
		if err != nil || secure != test.secure {
			t.Errorf("%s: the page's context is secure: %v (%v), want %v", test.name, secure, err, test.secure)
		}
	}
}
