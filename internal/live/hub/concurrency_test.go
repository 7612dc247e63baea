package hub

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/weir-stream/weir/internal/media"
)

// TestReadersAtAllSpeeds writes as fast as it can to readers that begin at any time and are as slow as they
// like. Each must see tracks before units, time that goes forward, and no GOP with a hole in it.
func TestReadersAtAllSpeeds(t *testing.T) {
	h := newHub(t, func(c *Config) { c.ReaderUnits, c.GOPUnits = 64, 40 })
	p := publish(t, h, video, audio)
	var readers sync.WaitGroup
	read := func(n int) {
		random := rand.New(rand.NewPCG(1, uint64(n)))
		r := reader(t, h)
		defer r.Close()
		var lastVideo, last int64
		tracks := map[int]bool{}
		for i := 0; ; i++ {
			item, err := r.Next(t.Context())
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Errorf("reader %d: %v", n, err)
				return
			}
			if item.Track != nil {
				tracks[item.Track.ID] = true
				continue
			}
			u := item.Unit
			switch {
			case !tracks[u.Track]:
				t.Errorf("reader %d: unit of track %d before the track", n, u.Track)
			case u.DTS <= last:
				t.Errorf("reader %d: unit %d after %d", n, u.DTS, last)
			// Video has the even times, so that the one before a picture is two less.
			case u.Track == 1 && !u.Keyframe && lastVideo != u.DTS-2:
				t.Errorf("reader %d: picture %d after %d", n, u.DTS, lastVideo)
			}
			last = u.DTS
			if u.Track == 1 {
				lastVideo = u.DTS
			}
			// Every reader is slow in its own way; some leave early.
			for range random.IntN(1 + n*50) {
				_ = random.Uint64()
			}
			if n%5 == 4 && i > 200 {
				return
			}
		}
	}
	for i := range int64(20_000) {
		if i%500 == 0 && i/500 < 20 {
			readers.Go(func() { read(int(i / 500)) })
		}
		if i%1000 == 7 {
			_ = h.Streams()
		}
		unit := media.Unit{Track: 1, DTS: 2*i + 2, Keyframe: i%12 == 0, Payload: []byte{1}}
		if err := p.Write(unit); err != nil {
			t.Fatal(err)
		}
		if err := p.Write(media.Unit{Track: 2, DTS: 2*i + 3, Keyframe: true, Payload: []byte{2}}); err != nil {
			t.Fatal(err)
		}
	}
	_ = p.Close()
	readers.Wait()
}

// TestAnyPaceKeepsGOPsWhole writes and reads in every order that a seed makes, so that the ring is
// met in all its states.
func TestAnyPaceKeepsGOPsWhole(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(2, seed))
		h := newHub(t, func(c *Config) { c.ReaderUnits, c.GOPUnits = 16+random.IntN(20), 8 })
		p := publish(t, h, video, audio)
		r := reader(t, h)
		var written, got strings.Builder
		length := 2 + random.IntN(7) // GOPs always fit beside what was begun
		for i := range 400 {
			c := "p"
			switch {
			case i%length == 0:
				c = "K"
			case random.IntN(3) == 0:
				c = "a"
			}
			written.WriteString(c)
			p.play(c)
			if random.IntN(10) == 0 {
				for range random.IntN(12) {
					if r.ring.n == 0 {
						break
					}
					item, err := r.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if item.Unit != nil {
						got.WriteByte(item.Unit.Payload[0])
					}
				}
			}
			if r.ring.n-r.trackItems > h.config.ReaderUnits {
				t.Fatalf("seed %d: %d units wait, the bound is %d", seed, r.ring.n-r.trackItems, h.config.ReaderUnits)
			}
		}
		got.WriteString(strings.Trim(drain(t, r), "VA"))
		// Every GOP that was delivered, but the last ones, is one that was written.
		gops := map[string]bool{}
		for _, g := range strings.Split(written.String(), "K") {
			gops[g] = true
		}
		all := strings.Split(got.String(), "K")
		for _, g := range all[:len(all)-1] {
			if !gops[g] {
				t.Fatalf("seed %d: a GOP was delivered as K%s, and never written so", seed, g)
			}
		}
		if lost := written.Len() - got.Len(); int64(lost) != r.Dropped() {
			t.Fatalf("seed %d: %d units lost, %d counted", seed, lost, r.Dropped())
		}
		_ = h.Close()
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, readers := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			h := newHub(b, nil)
			p := publish(b, h, video, audio)
			var wg sync.WaitGroup
			for range readers {
				r := reader(b, h)
				wg.Go(func() {
					for {
						if _, err := r.Next(b.Context()); err != nil {
							return
						}
					}
				})
			}
			payload := make([]byte, 4000)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				err := p.Write(media.Unit{Track: 1, DTS: int64(i), PTS: int64(i), Keyframe: i%60 == 0, Payload: payload})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			_ = p.Close()
			wg.Wait()
		})
	}
	b.Run("readers=100,asleep", func(b *testing.B) {
		h := newHub(b, func(c *Config) { c.ReaderUnits, c.GOPUnits = 256, 100 })
		p := publish(b, h, video, audio)
		for range 100 {
			reader(b, h)
		}
		payload := make([]byte, 4000)
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			err := p.Write(media.Unit{Track: 1, DTS: int64(i), PTS: int64(i), Keyframe: i%60 == 0, Payload: payload})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		_ = h.Close()
	})
}
