package rtmp

import "testing"

func TestVideoTime(t *testing.T) {
	for _, test := range []struct {
		name       string
		timestamps []uint32
		want       []int64 // in milliseconds
		step       int     // how many were repaired
		restart    int
	}{
		{"steady", []uint32{0, 33, 67, 100}, []int64{0, 33, 67, 100}, 0, 0},
		{"begins late", []uint32{5000, 5040}, []int64{5000, 5040}, 0, 0},
		{"beyond 24 bits", []uint32{0xFFFFF0, 0x1000018}, []int64{0xFFFFF0, 0x1000018}, 0, 0},
		{"wraps after 49.7 days", []uint32{0xFFFFFFF0, 0x18, 0x40}, []int64{0xFFFFFFF0, 0x100000018, 0x100000040}, 0, 0},
		{"wraps as a signed number", []uint32{0x7FFFFFF0, 0x80000018}, []int64{0x7FFFFFF0, 0x80000018}, 0, 0},
		{"a gap stays", []uint32{0, 40, 60_000}, []int64{0, 40, 60_000}, 0, 0},
		{"disorder", []uint32{0, 40, 20, 80}, []int64{0, 40, 40, 80}, 1, 0},
		{"the publisher's clock begins anew", []uint32{100_000, 100_040, 0, 40, 80}, []int64{100_000, 100_040, 100_040, 100_080, 100_120}, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c clock
			var v videoTime
			repairs := map[repair]int{}
			var last int64 = -1
			for i, timestamp := range test.timestamps {
				dts, done := v.at(&c, timestamp)
				repairs[done]++
				// A repaired one is a tick after the one before it.
				if off := dts - test.want[i]*90; off < 0 || off > 1 {
					t.Errorf("timestamp %d has DTS %d, want %d", timestamp, dts, test.want[i]*90)
				}
				if dts <= last {
					t.Errorf("timestamp %d has DTS %d after %d", timestamp, dts, last)
				}
				last = dts
			}
			if repairs[repairStep] != test.step || repairs[repairRestart] != test.restart {
				t.Errorf("repairs: %v", repairs)
			}
		})
	}
}

// TestTracksStayTogether restarts the publisher's clock with audio and video interleaved, and some of
// the old clock still on its way.
func TestTracksStayTogether(t *testing.T) {
	for _, restart := range []uint32{5_000, 100_000, 0xFFFFFFF0} {
		var c clock
		var video videoTime
		audio := audioTime{rate: 48000, frame: 1024}
		v := func(timestamp uint32) int64 { dts, _ := video.at(&c, timestamp); return dts / 90 }
		a := func(timestamp uint32) int64 { dts, _ := audio.at(&c, timestamp); return dts * 1000 / 48000 }
		base := v(restart - 40)
		a(restart - 43)
		v(restart)
		a(restart - 21)
		if got := v(0); got < base || got > base+100 {
			t.Errorf("restart at %d: video goes from %d to %d", restart, base+40, got)
		}
		if got := a(restart); got < base || got > base+100 {
			t.Errorf("restart at %d: audio of the old clock goes to %d, expected about %d", restart, got, base+40)
		}
		var gotV, gotA int64
		for i := uint32(1); i < 20; i++ {
			gotV, gotA = v(i*40), a(i*40)
		}
		if off := gotV - gotA; off < -60 || off > 60 {
			t.Errorf("restart at %d: video is at %d and audio at %d", restart, gotV, gotA)
		}
		if gotV > base+1000 {
			t.Errorf("restart at %d: the time line jumped from %d to %d", restart, base, gotV)
		}
	}
}

func TestAudioGrid(t *testing.T) {
	t.Run("no drift in an hour of 44.1 kHz", func(t *testing.T) {
		var c clock
		a := audioTime{rate: 44100, frame: 1024}
		for i := range int64(3600 * 44100 / 1024) {
			ms := i * 1024 * 1000 / 44100 // rounded down, as encoders do
			dts, done := a.at(&c, uint32(ms))
			if dts != i*1024 || done != repairNone {
				t.Fatalf("frame %d has DTS %d, want %d (%s)", i, dts, i*1024, done)
			}
		}
	})
	t.Run("a slow clock is followed", func(t *testing.T) {
		var c clock
		a := audioTime{rate: 48000, frame: 1024}
		var worst int64
		for i := range int64(20_000) { // 1 ms more in every second
			ms := i * 1024 * 1001 / 48000
			dts, _ := a.at(&c, uint32(ms))
			worst = max(worst, ms-dts*1000/48000)
		}
		if worst > gridTolerance+1 {
			t.Errorf("audio is up to %d ms early", worst)
		}
	})
	t.Run("lost frames leave a gap", func(t *testing.T) {
		var c clock
		a := audioTime{rate: 48000, frame: 960}
		a.at(&c, 0)
		a.at(&c, 20)
		if dts, _ := a.at(&c, 140); dts != 140*48 {
			t.Errorf("DTS is %d, want %d", dts, 140*48)
		}
	})
	t.Run("another rate", func(t *testing.T) {
		var c clock
		a := audioTime{rate: 48000, frame: 1024}
		a.at(&c, 1000)
		a.configure(44100, 1024)
		if dts, _ := a.at(&c, 1021); dts != roundDiv(1021*44100, 1000) {
			t.Errorf("DTS is %d, want %d", dts, roundDiv(1021*44100, 1000))
		}
	})
	t.Run("disorder", func(t *testing.T) {
		var c clock
		a := audioTime{rate: 48000, frame: 1024}
		var last int64 = -1
		for _, ms := range []uint32{0, 200, 10, 10, 10, 10, 300} {
			dts, _ := a.at(&c, ms)
			if dts <= last {
				t.Errorf("DTS %d after %d", dts, last)
			}
			last = dts
		}
	})
}

func FuzzClock(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		var c clock
		var video videoTime
		audio := audioTime{rate: 44100, frame: 1024}
		lastVideo, lastAudio := int64(-1), int64(-1)
		for ; len(data) >= 5; data = data[5:] {
			timestamp := uint32(data[1])<<24 | uint32(data[2])<<16 | uint32(data[3])<<8 | uint32(data[4])
			if data[0]&1 == 0 {
				dts, _ := video.at(&c, timestamp)
				if lastVideo != -1 && dts <= lastVideo {
					t.Fatalf("video goes from %d to %d", lastVideo, dts)
				}
				lastVideo = dts
			} else {
				dts, _ := audio.at(&c, timestamp)
				if lastAudio != -1 && dts <= lastAudio {
					t.Fatalf("audio goes from %d to %d", lastAudio, dts)
				}
				lastAudio = dts
			}
		}
	})
}
