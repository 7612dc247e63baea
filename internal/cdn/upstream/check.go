package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/weir-stream/weir/internal/cdn/upstream/health"
	"github.com/weir-stream/weir/internal/cdn/upstream/loop"
)

// maxCheckBytes is how much of a check's answer is read, so that its connection can be used again.
const maxCheckBytes = 64 << 10

// check asks the origin for its health path again and again until ctx ends.
func (p *Pool) check(ctx context.Context, t *table, e *endpoint) {
	c := &t.config.Health
	last := e.Snapshot().Checked
	// The first one soon, but not all edges at once; after a reload in the old step.
	wait := time.Duration(rand.Float64() * float64(min(c.Interval, time.Second)))
	if !last.IsZero() {
		wait = max(0, last.Add(c.Interval).Sub(p.now()))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		why := p.ask(ctx, c, e)
		if ctx.Err() != nil {
			return // it says nothing of the origin
		}
		if why == "" {
			e.checks[1].Add(1)
		} else {
			e.checks[0].Add(1)
		}
		if e.CheckedWith(p.now(), c, why) {
			if why == "" {
				p.log.Info("an origin passes its checks again", "origin", e.name)
			} else {
				p.log.Warn("an origin fails its checks", "origin", e.name, "reason", why)
			}
		}
		timer.Reset(health.Jittered(c.Interval))
	}
}

// ask makes one check and returns what is wrong, "" if nothing is.
func (p *Pool) ask(ctx context.Context, c *health.Active, e *endpoint) string {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	reference, err := url.ParseRequestURI(e.healthPath)
	if err != nil {
		return err.Error()
	}
	target := new(url.URL)
	e.join(target, reference)
	r := (&http.Request{
		Method: http.MethodGet, URL: target, Host: e.host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"weir-check"}, loop.Field: {p.id}},
	}).WithContext(ctx)
	for _, f := range e.fields {
		r.Header[f.name] = f.values
	}
	response, err := e.checker.RoundTrip(r)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Sprintf("no answer to a check within %v", c.Timeout)
		}
		return err.Error()
	}
	_, err = io.CopyN(io.Discard, response.Body, maxCheckBytes)
	_ = response.Body.Close()
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Sprintf("the answer to a check broke off: %v", err)
	case len(c.Statuses) == 0 && response.StatusCode/100 == 2, slices.Contains(c.Statuses, response.StatusCode):
		return ""
	}
	return fmt.Sprintf("status %d to a check", response.StatusCode)
}
