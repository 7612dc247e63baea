package transform

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newCompressor(t testing.TB, change ...func(*Config)) *Compressor {
	t.Helper()
	config := DefaultConfig()
	for _, f := range change {
		f(&config)
	}
	c, err := New(Settings{Config: config, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func noise(n int) []byte {
	out := make([]byte, n)
	random := rand.NewChaCha8([32]byte{7})
	_, _ = random.Read(out)
	return out
}

// decode reads what Reader makes of p.
func decode(t testing.TB, c *Compressor, e Encoding, p []byte) ([]byte, error) {
	t.Helper()
	r, err := c.Reader(bytes.NewReader(p), e)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestRoundTrips(t *testing.T) {
	c := newCompressor(t)
	bodies := map[string][]byte{
		"short": []byte(strings.Repeat("abc", 50)), "playlist": playlist(3000),
		"larger than the window": bytes.Repeat(playlist(2000), 20), "half noise": append(noise(30_000), playlist(2000)...),
	}
	for _, e := range all {
		for effort := range efforts {
			for name, body := range bodies {
				t.Run(fmt.Sprintf("%s/%d/%s", e, effort, name), func(t *testing.T) {
					t.Parallel()
					for range 2 { // the second time from the pools
						prefix := []byte("head")
						whole, err := c.Body(prefix, body, e, effort)
						if err != nil {
							t.Fatal(err)
						}
						if !bytes.HasPrefix(whole, prefix) || len(whole)-len(prefix) >= len(body) {
							t.Errorf("%d bytes of %d, head %q", len(whole), len(body), whole[:4])
						}
						whole = whole[len(prefix):]
						if got, err := decode(t, c, e, whole); err != nil || !bytes.Equal(got, body) {
							t.Errorf("whole: %d bytes of %d, %v", len(got), len(body), err)
						}
						got, err := c.Decoded([]byte("head"), whole, e, int64(len(body)))
						if err != nil || !bytes.Equal(got[4:], body) {
							t.Errorf("decoded at once: %d bytes, %v", len(got), err)
						}
						if got, err := c.Decoded(nil, whole, e, int64(len(body))-1); !errors.Is(err, ErrTooLarge) || got != nil {
							t.Errorf("with too small a limit: %d bytes, %v", len(got), err)
						}

						var out bytes.Buffer
						w, err := c.Writer(&out, e, effort)
						if err != nil {
							t.Fatal(err)
						}
						if _, err := io.Copy(w, iotest.HalfReader(bytes.NewReader(body))); err != nil {
							t.Fatal(err)
						}
						if err := w.Close(); err != nil {
							t.Fatal(err)
						}
						if got, err := decode(t, c, e, out.Bytes()); err != nil || !bytes.Equal(got, body) {
							t.Errorf("stream: %d bytes of %d, %v", len(got), len(body), err)
						}
					}
				})
			}
		}
	}
}

// The encoders and decoders are of the same libraries; the machine's programs are witnesses.
func TestOtherProgramsRead(t *testing.T) {
	c := newCompressor(t)
	body := playlist(3000)
	for e, program := range map[Encoding]string{Gzip: "gzip", Zstd: "zstd", Brotli: "brotli"} {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip("there is no ", program)
			}
			for effort := range efforts {
				encoded, err := c.Body(nil, body, e, effort)
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), program, "-dc")
				cmd.Stdin = bytes.NewReader(encoded)
				if got, err := cmd.Output(); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
				}
			}
		})
	}
}

func TestNoGain(t *testing.T) {
	c := newCompressor(t)
	for _, e := range all {
		got, err := c.Body([]byte("head"), noise(10_000), e, Static)
		if !errors.Is(err, ErrNoGain) || string(got) != "head" {
			t.Errorf("%s: %d bytes, %v", e, len(got), err)
		}
		if n := testutil.ToFloat64(c.metrics.useless.WithLabelValues(string(e))); n != 1 {
			t.Errorf("%s: counted %v times", e, n)
		}
	}
	if _, err := c.Body(nil, nil, "deflate", Static); err == nil || !strings.Contains(err.Error(), `the coding is "deflate"`) {
		t.Errorf("error %v", err)
	}
	if _, err := c.Writer(io.Discard, Identity, Static); err == nil {
		t.Error("a stream in no coding was made")
	}
	if _, err := c.Reader(bytes.NewReader(nil), ""); err == nil {
		t.Error("a reader of no coding was made")
	}
}

func TestWhatIsFlushedCanBeRead(t *testing.T) {
	c := newCompressor(t)
	for _, e := range all {
		pr, pw := io.Pipe()
		go func() {
			w, err := c.Writer(pw, e, Dynamic)
			for i := range 3 {
				_, err1 := fmt.Fprintf(w, "part %d\n", i)
				err = errors.Join(err, err1, w.Flush())
			}
			pw.CloseWithError(errors.Join(err, w.Close()))
		}()
		r, err := c.Reader(pr, e)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			want := fmt.Sprintf("part %d\n", i)
			got := make([]byte, len(want))
			// The writer goes on only when this was taken: what was not flushed would hang here.
			if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v, want %q", e, got, err, want)
			}
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("%s: %q, %v at the end", e, rest, err)
		}
		_ = r.Close()
	}
}

func TestWhatIsCutOffLooksCutOff(t *testing.T) {
	c := newCompressor(t)
	body := playlist(3000)
	for _, e := range all {
		whole, err := c.Body(nil, body, e, Static)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, 5, len(whole) / 2, len(whole) - 1} {
			if got, err := decode(t, c, e, whole[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes make %d without an error", e, n, len(whole), len(got))
			}
		}
		if _, err := decode(t, c, e, noise(1000)); err == nil {
			t.Errorf("%s: noise was decoded", e)
		}
		var out bytes.Buffer
		w, err := c.Writer(&out, e, Dynamic)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(body)
		_ = w.Flush()
		w.Abort()
		if got, err := decode(t, c, e, out.Bytes()); err == nil || !bytes.Equal(got, body) {
			t.Errorf("%s: an aborted stream gives %d bytes of %d and the error %v", e, len(got), len(body), err)
		}
		n := out.Len()
		if _, err := w.Write(body); err == nil || w.Flush() == nil || w.Close() != nil || out.Len() != n {
			t.Errorf("%s: the stream goes on after its end", e)
		}
		if got, err := decode(t, c, e, whole); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: after all that, the pooled decoder fails: %v", e, err)
		}
	}
}

func TestWritersThatFail(t *testing.T) {
	c := newCompressor(t)
	for _, e := range all {
		w, err := c.Writer(brokenPipe{}, e, Dynamic)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(noise(1 << 20))
		if err = errors.Join(err, w.Close()); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: error %v", e, err)
		}
		// The encoder is used again, and has forgotten it.
		if _, err := c.Body(nil, playlist(100), e, Dynamic); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestMany(t *testing.T) {
	c := newCompressor(t)
	var running sync.WaitGroup
	for i := range 6 {
		running.Go(func() {
			for j := range 8 {
				e, body := all[(i+j)%3], playlist(50*(i+j)+20)
				whole, err := c.Body(nil, body, e, Effort(j%2))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := decode(t, c, e, whole); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
				}
				var out bytes.Buffer
				w, _ := c.Writer(&out, e, Effort(j%2))
				_, _ = w.Write(body)
				if j%3 == 0 {
					w.Abort()
					continue
				}
				_ = w.Close()
				if got, err := decode(t, c, e, out.Bytes()); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
				}
			}
		})
	}
	running.Wait()
}

func FuzzReader(f *testing.F) {
	c := newCompressor(f)
	for i, e := range all {
		p, _ := c.Body(nil, playlist(30), e, Static)
		f.Add(i, p)
	}
	f.Fuzz(func(t *testing.T, i int, p []byte) {
		e := all[uint(i)%3]
		first, err := c.Decoded(nil, p, e, 1<<20)
		second, again := c.Decoded(nil, p, e, 1<<20)
		if !bytes.Equal(first, second) || (err == nil) != (again == nil) {
			t.Errorf("%s: %d bytes, %v, then %d bytes, %v", e, len(first), err, len(second), again)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	c := newCompressor(f)
	f.Add(0, []byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))
	f.Add(1, playlist(10))
	f.Add(4, noise(600))
	f.Fuzz(func(t *testing.T, i int, p []byte) {
		e, effort := all[uint(i)%3], Effort(uint(i)/3%2)
		body := append(bytes.Clone(p), bytes.Repeat([]byte("weir"), 200)...) // so that there is a gain
		body = append(body, p...)
		whole, err := c.Body(nil, body, e, effort)
		if errors.Is(err, ErrNoGain) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(t, c, e, whole); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes of %d, %v", e, len(got), len(body), err)
		}
	})
}

func TestPlans(t *testing.T) {
	const browser = "gzip, deflate, br, zstd"
	for _, test := range []struct {
		name            string
		accept          string
		request, header http.Header
		status          int
		length          int64
		want            Plan
	}{
		{"playlist", browser, nil, http.Header{"Content-Type": {"application/vnd.apple.mpegurl"}}, 200, 5000, Plan{Encode: Zstd, Vary: true}},
		{"page with a charset", "br", nil, http.Header{"Content-Type": {"Text/HTML; charset=utf-8"}}, 200, 5000, Plan{Encode: Brotli, Vary: true}},
		{"by suffix", "gzip", nil, http.Header{"Content-Type": {"application/problem+json"}}, 404, 5000, Plan{Encode: Gzip, Vary: true}},
		{"MPD", "gzip", nil, http.Header{"Content-Type": {"application/dash+xml"}}, 200, 5000, Plan{Encode: Gzip, Vary: true}},
		{"drawing", "gzip", nil, http.Header{"Content-Type": {"image/svg+xml"}}, 200, 5000, Plan{Encode: Gzip, Vary: true}},
		{"unknown length", "gzip", nil, http.Header{"Content-Type": {"text/vtt"}}, 200, -1, Plan{Encode: Gzip, Vary: true}},
		{"a client without codings", "", nil, http.Header{"Content-Type": {"text/css"}}, 200, 5000, Plan{Vary: true}},
		{"stored as identity", browser, nil, http.Header{"Content-Type": {"text/css"}, "Content-Encoding": {"identity"}}, 200, 5000, Plan{Encode: Zstd, Vary: true}},

		{"video", browser, nil, http.Header{"Content-Type": {"video/mp4"}}, 200, 5000, Plan{}},
		{"transport stream", browser, nil, http.Header{"Content-Type": {"video/MP2T"}}, 200, 5000, Plan{}},
		{"audio", browser, nil, http.Header{"Content-Type": {"audio/mp4"}}, 200, 5000, Plan{}},
		{"picture", browser, nil, http.Header{"Content-Type": {"image/png"}}, 200, 5000, Plan{}},
		{"no type", browser, nil, http.Header{}, 200, 5000, Plan{}},
		{"archive", browser, nil, http.Header{"Content-Type": {"application/zip"}}, 200, 5000, Plan{}},
		{"too short", browser, nil, http.Header{"Content-Type": {"text/css"}}, 200, 255, Plan{}},
		{"empty", browser, nil, http.Header{"Content-Type": {"text/css"}}, 200, 0, Plan{}},
		{"no-transform", browser, nil, http.Header{"Content-Type": {"text/css"}, "Cache-Control": {"max-age=1", "public, No-Transform"}}, 200, 5000, Plan{}},
		{"no-transform of the client", browser, http.Header{"Cache-Control": {"no-transform"}}, http.Header{"Content-Type": {"text/css"}}, 200, 5000, Plan{}},
		{"range", browser, http.Header{"Range": {"bytes=0-99"}}, http.Header{"Content-Type": {"text/css"}}, 200, 5000, Plan{Vary: true}},
		{"part", browser, nil, http.Header{"Content-Type": {"text/css"}, "Content-Range": {"bytes 0-999/5000"}}, 206, 1000, Plan{Vary: true}},
		{"not modified", browser, nil, http.Header{"Content-Type": {"text/css"}}, 304, -1, Plan{}},
		{"no content", browser, nil, http.Header{"Content-Type": {"text/css"}}, 204, -1, Plan{}},

		{"stored encoded, accepted", "gzip", nil, http.Header{"Content-Type": {"text/css"}, "Content-Encoding": {"gzip"}}, 200, 100, Plan{Vary: true}},
		{"stored encoded, not the best", browser, nil, http.Header{"Content-Type": {"text/css"}, "Content-Encoding": {"x-gzip"}}, 200, 100, Plan{Vary: true}},
		{"stored encoded, no coding accepted", "", nil, http.Header{"Content-Type": {"text/css"}, "Content-Encoding": {"br"}}, 200, 100, Plan{Decode: Brotli, Vary: true}},
		{"stored encoded, another accepted", "gzip", nil, http.Header{"Content-Type": {"text/css"}, "Content-Encoding": {"BR"}}, 200, 100, Plan{Decode: Brotli, Encode: Gzip, Vary: true}},
		{"stored encoded, not worth it", "gzip", nil, http.Header{"Content-Type": {"application/x-tar"}, "Content-Encoding": {"zstd"}}, 200, 100, Plan{Decode: Zstd, Vary: true}},
		{"stored encoded, refused, no-transform", "", nil, http.Header{"Content-Encoding": {"br"}, "Cache-Control": {"no-transform"}}, 200, 100, Plan{}},
		{"a part of what is encoded", "", nil, http.Header{"Content-Encoding": {"br"}, "Content-Range": {"bytes 0-9/100"}}, 206, 10, Plan{Vary: true}},
		{"unknown coding", "", nil, http.Header{"Content-Type": {"text/css"}, "Content-Encoding": {"compress"}}, 200, 5000, Plan{}},
		{"two codings", "", nil, http.Header{"Content-Type": {"text/css"}, "Content-Encoding": {"gzip, br"}}, 200, 5000, Plan{}},
		{"two codings in two lines", "", nil, http.Header{"Content-Type": {"text/css"}, "Content-Encoding": {"gzip", "br"}}, 200, 5000, Plan{}},
	} {
		// Even a configuration that wants everything does not make pictures and sound worse.
		for _, c := range []*Compressor{newCompressor(t), newCompressor(t, func(c *Config) {
			c.Types = append(c.Types, "video/*", "audio/*", "image/*", "video/mp4", "audio/mp4", "image/png", "video/mp2t")
		})} {
			r := &http.Request{Method: http.MethodGet, Header: test.request.Clone()}
			if r.Header == nil {
				r.Header = http.Header{}
			}
			for line := range strings.SplitSeq(test.accept, ", ") { // as several lines
				r.Header.Add("Accept-Encoding", line)
			}
			if got := c.Plan(r, test.status, test.header, test.length); got != test.want {
				t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
			}
		}
	}
	off := newCompressor(t, func(c *Config) { c.Enabled = false })
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if got := off.Plan(r, 200, http.Header{"Content-Type": {"text/css"}}, 5000); got != (Plan{}) {
		t.Errorf("off: %+v", got)
	}
	if got := off.Plan(r, 200, http.Header{"Content-Type": {"text/css"}, "Content-Encoding": {"br"}}, 5000); got.Decode != Brotli {
		t.Errorf("off: %+v, want what is not accepted to be decoded", got)
	}
}

func TestHeaders(t *testing.T) {
	stored := http.Header{
		"Content-Type": {"text/css"}, "Content-Length": {"5000"}, "Etag": {`"v1"`}, "Accept-Ranges": {"bytes"}, "Vary": {"Origin"},
		"Content-Md5": {"x"}, "Content-Digest": {"x"}, "Repr-Digest": {"x"}, "Cache-Control": {"max-age=60"},
	}
	for _, test := range []struct {
		name   string
		plan   Plan
		change http.Header
		want   http.Header
	}{
		{"nothing", Plan{}, nil, stored},
		{"encode", Plan{Encode: Brotli, Vary: true}, nil, http.Header{
			"Content-Type": {"text/css"}, "Etag": {`W/"v1-br"`}, "Vary": {"Origin", "Accept-Encoding"},
			"Content-Encoding": {"br"}, "Cache-Control": {"max-age=60"},
		}},
		{"decode", Plan{Decode: Gzip, Vary: true}, http.Header{"Content-Encoding": {"gzip"}, "Vary": {"origin, accept-encoding"}}, http.Header{
			"Content-Type": {"text/css"}, "Etag": {`W/"v1-identity"`}, "Vary": {"origin, accept-encoding"}, "Cache-Control": {"max-age=60"},
		}},
		{"both, with no tag to speak of", Plan{Decode: Gzip, Encode: Zstd, Vary: true}, http.Header{
			"Content-Encoding": {"gzip"}, "Vary": {"*"}, "Etag": {"v1"},
		}, http.Header{"Content-Type": {"text/css"}, "Vary": {"*"}, "Content-Encoding": {"zstd"}, "Cache-Control": {"max-age=60"}}},
	} {
		h := stored.Clone()
		for name, values := range test.change {
			h[name] = values
		}
		test.plan.Apply(h)
		if d := cmp.Diff(test.want, h); d != "" {
			t.Errorf("%s: %s", test.name, d)
		}
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	for _, test := range []struct {
		change func(*Config)
		want   string
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.Encodings = []Encoding{"deflate"} }, `encodings has "deflate"; zstd, br and gzip are expected`},
		{func(c *Config) { c.Encodings = []Encoding{Gzip, Gzip} }, "twice"},
		{func(c *Config) { c.Types = []string{"text"} }, `types has "text"`},
		{func(c *Config) { c.Types = []string{"*/*"} }, `types has "*/*"`},
		{func(c *Config) { c.Types = []string{"text/x*"} }, `types has "text/x*"`},
		{func(c *Config) { c.Types = []string{"text/css; charset=utf-8"} }, "types has"},
		{func(c *Config) { c.MinBytes = -1 }, "min_bytes is -1"},
	} {
		c := DefaultConfig()
		test.change(&c)
		_, err := New(Settings{Config: c})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("error %v, want one with %q", err, test.want)
		}
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	c, err := New(Settings{Config: DefaultConfig(), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	body := playlist(100)
	encoded, err := c.Body(nil, body, Zstd, Static)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decoded(nil, encoded, Zstd, 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{"encode", "decode"} {
		in, out := len(body), len(encoded)
		if way == "decode" {
			in, out = out, in
		}
		if got := testutil.ToFloat64(c.metrics.in.WithLabelValues(way, "zstd")); got != float64(in) {
			t.Errorf("%s: %v bytes in, want %d", way, got, in)
		}
		if got := testutil.ToFloat64(c.metrics.out.WithLabelValues(way, "zstd")); got != float64(out) {
			t.Errorf("%s: %v bytes out, want %d", way, got, out)
		}
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
