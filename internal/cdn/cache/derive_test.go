package cache

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestASupersededObjectIsInvalidatedOnce(t *testing.T) {
	c := newCache(t)
	var keys []string
	for i := range 4 {
		keys = append(keys, SliceKey("/film", int64(i)))
		put(t, c, keys[i], []byte("old"), head(3, time.Hour))
	}
	put(t, c, "/film/2", []byte("abc"), head(3, time.Hour))
	object := func(key string) *Object {
		l := get(c, key, noon)
		if l.Object == nil {
			t.Fatalf("%q is not there", key)
		}
		t.Cleanup(l.Object.Release)
		return l.Object
	}
	first, second := object(keys[0]), object(keys[1])
	c.Invalidate(keys[3])
	put(t, c, keys[3], []byte("new"), head(3, time.Hour))
	late := lead(t, c, SliceKey("/film", 9), noon)
	c.Supersede("/film", first, object(keys[3]))
	if fresh, _ := held(c, noon, keys...); fmt.Sprint(fresh) != fmt.Sprint(keys[3:]) {
		t.Errorf("held: %q, want the latest, %q", fresh, keys[3])
	}
	if fresh, _ := held(c, noon, "/film/2"); len(fresh) != 1 {
		t.Error("another object is gone")
	}
	o, err := late.Store(head(3, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	o.Release() // its filler
	o.Release()
	if fresh, _ := held(c, noon, SliceKey("/film", 9)); len(fresh) != 0 {
		t.Error("what was asked for before the change is kept")
	}
	// Others who had a part of before find the same.
	put(t, c, keys[0], []byte("new"), head(3, time.Hour))
	c.Supersede("/film", second, object(keys[3]))
	c.Supersede("/film", first, object(keys[0]))
	if fresh, _ := held(c, noon, keys...); len(fresh) != 2 {
		t.Errorf("held: %q, want both that are new", fresh)
	}
}

func TestAnAbandonedFillServesNothingStale(t *testing.T) {
	c := newCache(t)
	put(t, c, "/k", []byte("abc"), head(3, time.Minute))
	l := get(c, "/k", noon.Add(time.Minute+time.Second))
	if !l.Leader || !l.Fill.CanServeStale(noon.Add(time.Minute+time.Second)) {
		t.Fatalf("Get = %+v", l)
	}
	why := errors.New("too large")
	l.Fill.Abandon(why, nil)
	out, err := l.Fill.Wait(t.Context())
	if err != nil || out.Object != nil || !errors.Is(out.Err, why) {
		t.Errorf("the outcome is %+v, %v", out, err)
	}
	if c.Len() != 0 || c.Used() != 0 {
		t.Errorf("%d objects, %d bytes", c.Len(), c.Used())
	}
}
