package survival

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// errWrong is about an answer that has other bytes than the origin has.
var errWrong = errors.New("it is not what the origin has")

// view asks for one object after the other.
func (r *run) view(ctx context.Context, random *rand.Rand) {
	popular := rand.NewZipf(random, 1.1, 8, uint64(len(r.paths)-1))
	buffer := make([]byte, 64<<10)
	for ctx.Err() == nil {
		begun := r.now()
		if begun%2 == 1 { // a player tries again after a moment
			_ = wait(ctx, 5*time.Millisecond)
			continue
		}
		path := r.paths[popular.Uint64()]
		from, to := 0, len(r.bodies[path])
		if random.IntN(4) == 0 {
			from = random.IntN(to)
			to = from + 1 + random.IntN(to-from)
		}
		n, hit, err := r.get(ctx, path, from, to, buffer)
		r.note(ctx, begun, path, fmt.Sprintf("%s bytes %d to %d", path, from, to), n, hit, err)
	}
}

// note counts an answer, or what there was instead.
func (r *run) note(ctx context.Context, begun int, path, what string, n int, hit bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tell := func(list *[]string) {
		if len(*list) < maxTold {
			*list = append(*list, fmt.Sprintf("start %d: %s: %v", begun/2, what, err))
		}
	}
	switch {
	case errors.Is(err, errWrong): // whatever else was going on
		tell(&r.result.Wrong)
	case err == nil:
		r.result.Answers++
		r.result.Bytes += int64(n)
	case ctx.Err() != nil:
		return
	case begun != r.epoch:
		r.result.Cut++
	default:
		tell(&r.result.Failed)
	}
	if err != nil || begun != r.epoch {
		return
	}
	if !r.since[path] {
		r.since[path] = true
		if r.before[path] {
			r.result.Known++
			if hit {
				r.result.Survived++
			}
		}
	}
	if n == len(r.bodies[path]) {
		r.whole[path] = true
	}
}

// get reads the bytes from and to of an object and compares them as they arrive, those of answers that are cut
// off later too. It returns how many they were, and whether the edge says that it had them.
func (r *run) get(ctx context.Context, path string, from, to int, buffer []byte) (n int, hit bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.public+path, nil)
	if err != nil {
		return 0, false, err
	}
	body, status := r.bodies[path], http.StatusOK
	if from > 0 || to < len(body) {
		status = http.StatusPartialContent
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	// The status of an error is a failure; any other than was to be expected would be a lie about the bytes.
	if resp.StatusCode >= 400 && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		return 0, false, errors.New(resp.Status)
	}
	if resp.StatusCode != status {
		return 0, false, fmt.Errorf("%w: the status is %s", errWrong, resp.Status)
	}
	if want := fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(body)); status == http.StatusPartialContent && resp.Header.Get("Content-Range") != want {
		return 0, false, fmt.Errorf("%w: Content-Range is %q", errWrong, resp.Header.Get("Content-Range"))
	}
	if resp.ContentLength >= 0 && resp.ContentLength != int64(to-from) {
		return 0, false, fmt.Errorf("%w: Content-Length is %d", errWrong, resp.ContentLength)
	}
	if got := resp.Header.Get("ETag"); got != strconv.Quote(path) {
		return 0, false, fmt.Errorf("%w: ETag is %s", errWrong, got)
	}
	hit = strings.Contains(resp.Header.Get("Cache-Status"), "; hit")
	for {
		m, err := resp.Body.Read(buffer)
		at := from + n
		if at+m > to || !bytes.Equal(buffer[:m], body[at:at+m]) {
			return n, hit, fmt.Errorf("%w: from byte %d of the object on, %d bytes at once", errWrong, at, m)
		}
		n += m
		switch {
		case errors.Is(err, io.EOF) && n == to-from:
			return n, hit, nil
		case errors.Is(err, io.EOF) && len(resp.TransferEncoding) > 0: // it says that this is the end
			return n, hit, fmt.Errorf("%w: %d of %d bytes, and the end of the answer", errWrong, n, to-from)
		case errors.Is(err, io.EOF):
			return n, hit, io.ErrUnexpectedEOF
		case err != nil:
			return n, hit, err
		}
	}
}
