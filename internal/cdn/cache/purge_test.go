package cache

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/internal/cdn"
	"github.com/weir-stream/weir/internal/cdn/cache/freshness"
)

func tagged(tags ...string) Head {
	h := head(3, time.Hour)
	h.Tags = tags
	return h
}

// held returns the keys, of these, under which there is a fresh object, and those under which it is stale.
func held(c *Cache, now time.Time, keys ...string) (fresh, stale []string) {
	for _, key := range keys {
		l := c.Get(Query{Key: key, Now: now, Probe: true})
		if l.Object != nil {
			l.Object.Release()
		}
		usable := c.Get(Query{Key: key, Now: now, Probe: true, Control: freshness.RequestControl{HasMaxStale: true, MaxStale: time.Hour}})
		if usable.Object != nil {
			usable.Object.Release()
		}
		switch {
		case l.Object != nil && !l.Stale:
			fresh = append(fresh, key)
		case usable.Object != nil:
			stale = append(stale, key)
		}
	}
	return fresh, stale
}

func TestPurge(t *testing.T) {
	keys := []string{"/a/1", "/a/2", "/a/2?x=1", "/b/1", SliceKey("/a/1", 3), "host.example/a/1", "other.example/a/1"}
	for _, tt := range []struct {
		purge cdn.Purge
		gone  string
	}{
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "/a/1"}, "/a/1 /a/1#3 host.example/a/1 other.example/a/1"},
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "/a/1", Host: "host.example"}, "/a/1 /a/1#3 host.example/a/1"},
		{cdn.Purge{Scope: cdn.PurgeURL, Target: "/a/2?x=1"}, "/a/2?x=1"},
		{cdn.Purge{Scope: cdn.PurgePrefix, Target: "/a/2"}, "/a/2 /a/2?x=1"},
		{cdn.Purge{Scope: cdn.PurgePrefix, Target: "/a/"}, "/a/1 /a/2 /a/2?x=1 /a/1#3 host.example/a/1 other.example/a/1"},
		{cdn.Purge{Scope: cdn.PurgeTag, Target: "even"}, "/a/2"},
		{cdn.Purge{Scope: cdn.PurgeTag, Target: "nothing"}, ""},
		{cdn.Purge{Scope: cdn.PurgeAll}, "/a/1 /a/2 /a/2?x=1 /b/1 /a/1#3 host.example/a/1 other.example/a/1"},
	} {
		for _, soft := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %s%s soft=%v", tt.purge.Scope, tt.purge.Host, tt.purge.Target, soft), func(t *testing.T) {
				c := newCache(t)
				for _, key := range keys {
					if key == "/a/2" {
						put(t, c, key, []byte("abc"), tagged("even", "all"))
					} else {
						put(t, c, key, []byte("abc"), tagged("all"))
					}
				}
				tt.purge.Soft = soft
				if err := c.Purge(tt.purge); err != nil {
					t.Fatal(err)
				}
				fresh, stale := held(c, noon.Add(time.Second), keys...)
				gone := strings.Fields(strings.ReplaceAll(tt.gone, "#", sliceMark))
				if len(fresh) != len(keys)-len(gone) {
					t.Errorf("fresh: %q", fresh)
				}
				if soft && strings.Join(stale, " ") != strings.Join(gone, " ") || !soft && len(stale) > 0 {
					t.Errorf("stale: %q, want %q", stale, gone)
				}
				// What comes after a purge is not touched by it.
				for _, key := range gone {
					l := get(c, key, noon.Add(time.Second))
					if !soft && l.Reason != cdn.Purged {
						t.Errorf("%q: reason %q", key, l.Reason)
					}
					o, err := l.Fill.Store(head(3, time.Hour))
					if err != nil {
						t.Fatal(err)
					}
					if err := o.FillFrom(t.Context(), strings.NewReader("new")); err != nil {
						t.Fatal(err)
					}
					o.Release()
				}
				if fresh, _ := held(c, noon.Add(time.Second), keys...); len(fresh) != len(keys) {
					t.Errorf("after they have been fetched again: %q", fresh)
				}
			})
		}
	}
}

// What the origin was asked for before a purge is not kept after it, and not given to those who ask after it.
func TestAFillThatIsOlderThanAPurge(t *testing.T) {
	for _, purge := range []cdn.Purge{
		{Scope: cdn.PurgeURL, Target: "/k"}, {Scope: cdn.PurgePrefix, Target: "/"}, {Scope: cdn.PurgeTag, Target: "x"}, {Scope: cdn.PurgeAll},
	} {
		t.Run(string(purge.Scope), func(t *testing.T) {
			c := newCache(t)
			old := lead(t, c, "/k", noon)
			if err := c.Purge(purge); err != nil {
				t.Fatal(err)
			}
			l := get(c, "/k", noon)
			if !l.Leader {
				t.Fatalf("who asks after the purge waits for what was asked for before it: %+v", l)
			}
			put := func(f *Fill, body string) {
				o, err := f.Store(tagged("x"))
				if err != nil {
					t.Fatal(err)
				}
				if err := o.FillFrom(t.Context(), strings.NewReader(body)); err != nil {
					t.Fatal(err)
				}
				o.Release()
			}
			put(l.Fill, "new")
			put(old, "old")
			l = get(c, "/k", noon)
			if l.Object == nil {
				t.Fatalf("Get = %+v", l)
			}
			got, err := readAll(t.Context(), l.Object.Open(0, -1))
			if err != nil || string(got) != "new" {
				t.Errorf("%q, %v", got, err)
			}
			l.Object.Release()
		})
	}
}

func TestPurgesAreForgottenWhenAllHasBeenHeldAgainstThem(t *testing.T) {
	c := newCache(t)
	put(t, c, "/kept", []byte("abc"), head(3, time.Hour))
	put(t, c, "/gone", []byte("abc"), head(3, time.Hour))
	slow := lead(t, c, "/slow", noon)
	if err := c.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/gone"}); err != nil {
		t.Fatal(err)
	}
	for i := range maxPurges {
		if err := c.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: fmt.Sprintf("/other/%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.purges.size(); n > maxPurges {
		t.Errorf("%d purges are remembered", n)
	}
	if fresh, _ := held(c, noon, "/kept", "/gone"); len(fresh) != 1 || fresh[0] != "/kept" {
		t.Errorf("fresh: %q", fresh)
	}
	// What was asked for before is not kept, since nobody knows any more whether it was purged.
	if o, err := slow.Store(head(3, time.Hour)); err != nil {
		t.Fatal(err)
	} else if err := o.FillFrom(t.Context(), strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	} else {
		o.Release()
	}
	if fresh, _ := held(c, noon, "/slow"); len(fresh) != 0 {
		t.Error("a fill that is older than what has been forgotten was kept")
	}
}

func TestInvalidate(t *testing.T) {
	c := newCache(t)
	put(t, c, "/k", []byte("abc"), head(3, time.Hour))
	c.Invalidate("/k")
	running := lead(t, c, "/k", noon)
	c.Invalidate("/k")
	if l := get(c, "/k", noon); !l.Leader {
		t.Errorf("who asks after the change waits for what was asked for before: %+v", l)
	}
	if o, err := running.Store(head(3, time.Hour)); err != nil {
		t.Fatal(err)
	} else if err := o.FillFrom(t.Context(), strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	} else {
		o.Release()
	}
	if fresh, _ := held(c, noon, "/k"); len(fresh) != 0 {
		t.Error("what was asked for before the change is kept")
	}
}

func TestVariants(t *testing.T) {
	c := newCache(t)
	vary := func(language string) Head {
		h := head(2, time.Hour)
		h.Vary, h.Request = []string{"Accept-Language"}, header("Accept-Language", language)
		return h
	}
	ask := func(language string) Lookup {
		return c.Get(Query{Key: "/k", Now: noon, Header: header("Accept-Language", language)})
	}
	for _, language := range []string{"en", "de"} {
		l := ask(language)
		if !l.Leader {
			t.Fatalf("%s: %+v", language, l)
		}
		o, err := l.Fill.Store(vary(language))
		if err != nil {
			t.Fatal(err)
		}
		if err := o.FillFrom(t.Context(), strings.NewReader(language)); err != nil {
			t.Fatal(err)
		}
		o.Release()
	}
	for _, language := range []string{"en", "de"} {
		l := ask(language)
		if l.Object == nil {
			t.Fatalf("%s: %+v", language, l)
		}
		if got, _ := readAll(t.Context(), l.Object.Open(0, -1)); string(got) != language {
			t.Errorf("%s gets %q", language, got)
		}
		l.Object.Release()
	}
	// Two unknown languages do not wait for each other, now that it is known what they are told apart by.
	if fr, it := ask("fr"), ask("it"); !fr.Leader || !it.Leader || fr.Fill == it.Fill {
		t.Errorf("fr %+v, it %+v", fr, it)
	}
	if c.Len() != 2 {
		t.Errorf("%d objects", c.Len())
	}
	if c.Hit([]byte("/k"), noon) != nil {
		t.Error("the fast way does not know which variant is wanted")
	}
	for i := range 2 * maxVariants {
		l := ask(fmt.Sprint(i))
		o, err := l.Fill.Store(vary(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := o.FillFrom(t.Context(), strings.NewReader("xy")); err != nil {
			t.Fatal(err)
		}
		o.Release()
	}
	if n := c.Len(); n != maxVariants {
		t.Errorf("%d variants are held, the bound is %d", n, maxVariants)
	}
	if err := c.Purge(cdn.Purge{Scope: cdn.PurgeAll}); err != nil {
		t.Fatal(err)
	}
	ask("en")
	if c.Used() != 0 {
		t.Errorf("%d bytes are charged for nothing", c.Used())
	}
}

func TestStaleIsServedWhileItIsRevalidated(t *testing.T) {
	c := newCache(t)
	h := head(3, 10*time.Second)
	h.StaleWhileRevalidate = 20 * time.Second
	put(t, c, "/k", []byte("abc"), h)
	later := noon.Add(15 * time.Second)
	l := get(c, "/k", later)
	if l.Object == nil || !l.Stale || !l.Leader {
		t.Fatalf("the first: %+v", l)
	}
	second := get(c, "/k", later)
	if second.Object == nil || !second.Stale || second.Fill != nil {
		t.Errorf("the second: %+v", second)
	}
	second.Object.Release()
	l.Object.Release()
	l.Fill.Revalidated(Head{
		Status: 200, Header: http.Header{}, Fetch: &Fetch{Status: 304},
		Freshness: freshness.Freshness{Share: true, Store: true, Lifetime: time.Minute, Received: later},
	})
	third := get(c, "/k", later)
	if third.Object == nil || third.Stale {
		t.Errorf("after it: %+v", third)
	}
	third.Object.Release()
}

func TestTheListOfPurges(t *testing.T) {
	dir := t.TempDir()
	add := func(target string) {
		p, err := openPurges(dir)
		if err != nil {
			t.Fatal(err)
		}
		x := cdn.Purge{Scope: cdn.PurgeURL, Target: target}
		if err := p.log.append(p.sequence()+1, x); err != nil {
			t.Fatal(err)
		}
		p.add(x, p.sequence()+1)
		if err := p.log.close(); err != nil {
			t.Fatal(err)
		}
	}
	read := func() *purges {
		p, err := openPurges(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.log.close(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	name := filepath.Join(dir, "purges")
	add("/a")
	add("/b")
	if p := read(); p.sequence() != 2 || p.size() != 2 || p.floor != 0 {
		t.Errorf("sequence %d, %d marks, floor %d", p.sequence(), p.size(), p.floor)
	}
	// A torn end is of a purge that nobody was told of.
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(data, `{"generation":3,"pur`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := read(); p.sequence() != 2 || p.size() != 2 {
		t.Errorf("with a torn end: sequence %d, %d marks", p.sequence(), p.size())
	}
	add("/c")
	if p := read(); p.sequence() != 3 || p.size() != 3 {
		t.Errorf("after a torn end: sequence %d, %d marks", p.sequence(), p.size())
	}
	// A broken middle hides purges: nothing that is older counts.
	if data, err = os.ReadFile(name); err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0xff
	data[len(data)/2+1] = '\n'
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if p := read(); p.floor <= 3 || p.floor != p.sequence() {
		t.Errorf("with a broken middle: floor %d, sequence %d", p.floor, p.sequence())
	}
	if p := read(); p.floor <= 3 {
		t.Errorf("and when it is read again: floor %d", p.floor)
	}
}

// Who has invalidated something by a request is not answered later because of it, but it holds over a restart.
func TestInvalidationsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	c, stop := onDisk(t, dir, atNoon)
	for _, key := range []string{"/a", "/b", "/kept"} {
		h := head(3, time.Hour)
		h.Tags = []string{key}
		put(t, c, key, []byte("abc"), h)
	}
	stop()
	c, stop = onDisk(t, dir, atNoon)
	c.InvalidateTags([]string{"/a"})
	c.Invalidate("/b")
	stop()
	c, _ = onDisk(t, dir, atNoon)
	if fresh, _ := held(c, noon, "/a", "/b", "/kept"); len(fresh) != 1 || fresh[0] != "/kept" {
		// The first look at what is on disk opens it.
		t.Errorf("fresh after a restart: %q", fresh)
	}
}

func TestAnInvalidationReachesTheFillsOfAllVariants(t *testing.T) {
	c := newCache(t)
	ask := func(language string) Lookup {
		return c.Get(Query{Key: "/k", Now: noon, Header: header("Accept-Language", language)})
	}
	store := func(l Lookup, language string) {
		h := head(2, time.Hour)
		h.Vary, h.Request = []string{"Accept-Language"}, header("Accept-Language", language)
		o, err := l.Fill.Store(h)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.FillFrom(t.Context(), strings.NewReader(language)); err != nil {
			t.Fatal(err)
		}
		o.Release()
	}
	store(ask("en"), "en")
	french := ask("fr")
	c.Invalidate("/k")
	store(french, "fr")
	if c.Len() != 0 {
		t.Errorf("%d objects are kept, of before the change", c.Len())
	}
}

// Two sweeps overlap, and that which began first ends last.
func TestWhatIsForgottenStaysForgotten(t *testing.T) {
	p := newPurges(nil, 0)
	for i := range 20 {
		p.add(cdn.Purge{Scope: cdn.PurgeURL, Target: "/x"}, uint64(i+1))
	}
	p.forget(20)
	p.forget(10)
	if !p.mayHit("/x", 15) {
		t.Error("what was asked for before a purge that has been forgotten would be kept")
	}
}

// What is stored between a soft purge and the moment when that is forgotten is stale, although nobody has looked it up
// meanwhile.
func TestASoftPurgeOfWhatIsOnItsWay(t *testing.T) {
	c := newCache(t)
	f := lead(t, c, "/k", noon)
	if err := c.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/k", Soft: true}); err != nil {
		t.Fatal(err)
	}
	generation := c.purges.sequence()
	// Now a sweep goes by its place in the index, which is empty yet.
	o, err := f.Store(head(3, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.FillFrom(t.Context(), strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	o.Release()
	c.purges.forget(generation)
	if fresh, stale := held(c, noon.Add(time.Second), "/k"); len(fresh) != 0 || len(stale) != 1 {
		t.Errorf("fresh %q, stale %q", fresh, stale)
	}
}

// An object that is stale because of a soft purge is no fresher after a restart.
func TestASoftPurgeOfWhatIsWrittenLater(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DiskBytes, cfg.SegmentBytes = 16<<20, 4<<20
	dir := t.TempDir()
	c, err := New(Settings{Config: cfg, Dir: dir, Now: atNoon})
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "/k", random(1<<20), head(1<<20, time.Hour))
	if err := c.Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/k", Soft: true}); err != nil {
		t.Fatal(err)
	}
	held(c, noon.Add(time.Second), "/k") // it is held against the purge, and then written
	disk := c.disk.Load()
	c.write(disk, <-disk.queue)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c, _ = onDisk(t, dir, atNoon)
	if fresh, stale := held(c, noon.Add(time.Second), "/k"); len(fresh) != 0 || len(stale) != 1 {
		t.Errorf("fresh %q, stale %q", fresh, stale)
	}
}

// A purge names a host as people write it, and keys have one spelling.
func TestTheHostOfAPurge(t *testing.T) {
	for _, tt := range []struct{ host, gone string }{
		{"a.example", "a.example/x"},
		{"A.Example", "a.example/x"},
		{"a.example.", "a.example/x"},
		{"A.Example:80", "a.example/x a.example:80/x"},
		{"a.example:443", "a.example/x a.example:443/x"},
		{"a.example:8080", "a.example:8080/x"},
		{"[2001:DB8::1]", "[2001:db8::1]/x"},
	} {
		keys := []string{"a.example/x", "a.example:80/x", "a.example:443/x", "a.example:8080/x", "b.example/x", "[2001:db8::1]/x"}
		for _, scope := range []cdn.PurgeScope{cdn.PurgeURL, cdn.PurgePrefix} {
			c := newCache(t)
			for _, key := range keys {
				put(t, c, key, []byte("abc"), head(3, time.Hour))
			}
			if err := c.Purge(cdn.Purge{Scope: scope, Target: "/x", Host: tt.host}); err != nil {
				t.Fatal(err)
			}
			var gone []string
			for _, key := range keys {
				if fresh, _ := held(c, noon, key); len(fresh) == 0 {
					gone = append(gone, key)
				}
			}
			if got := strings.Join(gone, " "); got != tt.gone {
				t.Errorf("%s under %q: gone are %q, want %q", scope, tt.host, got, tt.gone)
			}
		}
	}
	for _, host := range []string{"a.example/", "https://a.example", "a b", "a:b", ".", "*"} {
		if err := newCache(t).Purge(cdn.Purge{Scope: cdn.PurgeURL, Target: "/x", Host: host}); !errors.Is(err, ErrPurge) {
			t.Errorf("a purge under %q: %v, want that it is refused", host, err)
		}
	}
}
