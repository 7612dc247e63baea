package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser starts a headless Chromium with a profile of its own.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless,
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"), chromedp.Flag("mute-audio", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1400, 900),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancelBrowser := chromedp.NewContext(allocator)
	t.Cleanup(cancelBrowser)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return ctx
}

// tab opens a page in a tab of its own and collects what the page throws and cannot load.
func tab(t *testing.T, browser context.Context, url string) (context.Context, *pageErrors) {
	t.Helper()
	ctx, errs, _ := tappedTab(t, browser, url, true)
	return ctx, errs
}

// tappedTab is tab, and tells what the page puts on the wire. Without a cache the page asks for
// everything itself, also for what another tab has fetched.
func tappedTab(t *testing.T, browser context.Context, url string, cache bool) (context.Context, *pageErrors, *wire) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	errs := &pageErrors{}
	err := chromedp.Listen(ctx, func(event any) {
		if thrown, ok := event.(*runtime.EventExceptionThrown); ok {
			details := thrown.ExceptionDetails
			text := details.Text
			if details.Exception != nil {
				text += " " + details.Exception.Description
			}
			errs.add(text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	w := listen(t, ctx)
	if _, err := chromedp.Call(ctx, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: !cache}); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	return ctx, errs, w
}

// evaluate runs a JavaScript expression in the page.
func evaluate[T any](ctx context.Context, expression string) (T, error) {
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return chromedp.Run(limited, chromedp.Evaluate[T](expression))
}

// screenshot keeps a picture of the page in the folder $E2E_SCREENSHOTS, if that is set.
func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	folder := os.Getenv("E2E_SCREENSHOTS")
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Logf("screenshot %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o600); err != nil {
		t.Log(err)
	}
}

// watching is what the watch page tells of itself (window.weirWatch).
type watching struct {
	Player   string   `json:"player"`
	SID      string   `json:"sid"`
	State    string   `json:"state"`
	Errors   []string `json:"errors"`
	Restarts int      `json:"restarts"`
	Stalls   []struct {
		Start    float64 `json:"start"`    // Unix ms
		Duration float64 `json:"duration"` // seconds
	} `json:"stalls"`
	Requests []struct {
		URL    string            `json:"url"`
		Status int               `json:"status"`
		Bytes  int64             `json:"bytes"`
		Keys   map[string]string `json:"keys"`
	} `json:"requests"`
	CurrentTime float64 `json:"currentTime"`
	Width       int     `json:"width"`
	Paused      bool    `json:"paused"`
}

func watch(ctx context.Context) (watching, error) {
	return evaluate[watching](ctx, `(() => { const v = document.querySelector('video');
		return {...JSON.parse(JSON.stringify(window.weirWatch)), errors: (window.weirWatch.errors || []).map(String),
		  currentTime: v.currentTime, width: v.videoWidth, paused: v.paused}; })()`)
}

// playing waits until the page's picture moves.
func playing(t *testing.T, ctx context.Context, limit time.Duration) watching {
	t.Helper()
	var last watching
	first := -1.0
	waitFor(t, limit, "the picture moves", func() error {
		w, err := watch(ctx)
		if err != nil {
			return err
		}
		last = w
		if w.Paused || w.Width == 0 {
			return fmt.Errorf("state %s, paused %v, width %d, errors %v", w.State, w.Paused, w.Width, w.Errors)
		}
		if first < 0 {
			first = w.CurrentTime
		}
		if w.CurrentTime < first+0.5 {
			return fmt.Errorf("state %s, currentTime %.2f after %.2f", w.State, w.CurrentTime, first)
		}
		return nil
	})
	return last
}

// pageErrors collects what a page throws.
type pageErrors struct {
	mu   sync.Mutex
	list []string
}

func (e *pageErrors) add(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, text)
}

func (e *pageErrors) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}
