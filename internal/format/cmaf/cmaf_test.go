package cmaf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir/internal/format/cmaf"
	"github.com/weir-stream/weir/internal/format/cmaf/cmaftest"
	"github.com/weir-stream/weir/internal/media"
)

var (
	testVideo = []string{"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-t", "4", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "30", "-preset", "veryfast", "-bf", "2"}
	testAudio = []string{"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", "4", "-c:a", "aac", "-b:a", "96k"}
)

// chunkOf makes a chunk of units; the last unit is as long as the one before.
func chunkOf(units []media.Unit, sequence uint32) cmaf.Chunk {
	c := cmaf.Chunk{Sequence: sequence, DecodeTime: uint64(units[0].DTS)}
	for i, u := range units {
		s := cmaf.Sample{CompositionOffset: int32(u.PTS - u.DTS), Sync: u.Keyframe, Data: u.Payload}
		if i+1 < len(units) {
			s.Duration = uint32(units[i+1].DTS - u.DTS)
		} else if i > 0 {
			s.Duration = c.Samples[i-1].Duration
		}
		c.Samples = append(c.Samples, s)
	}
	return c
}

func TestRealMediaSurvives(t *testing.T) {
	for name, args := range map[string][]string{"h264 with b-frames": testVideo, "aac": testAudio} {
		t.Run(name, func(t *testing.T) {
			rec := cmaftest.Record(t, args...)
			track := rec.Tracks[0]
			header, err := cmaf.AppendHeader(nil, track)
			if err != nil {
				t.Fatal(err)
			}
			var segments [][]byte
			const perChunk = 15 // two chunks to a segment, four frames of lead to show large times
			const shift = int64(1) << 33
			moved := make([]media.Unit, len(rec.Units))
			for i, u := range rec.Units {
				u.DTS, u.PTS = u.DTS+shift, u.PTS+shift
				moved[i] = u
			}
			for i := 0; i+2*perChunk <= len(moved); i += 2 * perChunk {
				a := chunkOf(moved[i:i+perChunk], uint32(i))
				a.Reference = cmaf.Reference{Wall: time.Unix(1_800_000_000, 5e8), MediaTime: uint64(moved[i].PTS)}
				a.Samples[perChunk-1].Duration = uint32(moved[i+perChunk].DTS - moved[i+perChunk-1].DTS)
				b := chunkOf(moved[i+perChunk:i+2*perChunk], uint32(i+1))
				s, err := cmaf.Segment(a, b)
				if err != nil {
					t.Fatal(err)
				}
				if len(s) != cap(s) {
					t.Errorf("segment has %d bytes in an allocation of %d", len(s), cap(s))
				}
				segments = append(segments, s)
			}
			got, err := cmaftest.Read(header, segments...)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range got {
				u := moved[i]
				if s.DTS != u.DTS || s.PTS != u.PTS || s.Sync != u.Keyframe || !bytes.Equal(s.Data, u.Payload) {
					t.Fatalf("sample %d: got dts %d pts %d sync %v (%d bytes), want %d %d %v (%d bytes)",
						i, s.DTS, s.PTS, s.Sync, len(s.Data), u.DTS, u.PTS, u.Keyframe, len(u.Payload))
				}
			}

			path := filepath.Join(t.TempDir(), "track.mp4")
			data := append(bytes.Clone(header), bytes.Join(segments, nil)...)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			cmaftest.Run(t, "ffmpeg", "-hide_banner", "-loglevel", "warning", "-xerror", "-i", path, "-f", "null", "-")
			type packet struct {
				PTS  int64  `json:"pts"`
				DTS  int64  `json:"dts"`
				Size string `json:"size"`
			}
			var probe struct {
				Packets []packet `json:"packets"`
				Streams []struct {
					CodecName string `json:"codec_name"`
					Width     int    `json:"width"`
					Height    int    `json:"height"`
					Profile   string `json:"profile"`
				} `json:"streams"`
			}
			out := cmaftest.Run(t, "ffprobe", "-loglevel", "warning", "-of", "json", "-show_streams", "-show_packets", path)
			if err := json.Unmarshal([]byte(out), &probe); err != nil {
				t.Fatal(err)
			}
			if len(probe.Packets) != len(got) {
				t.Fatalf("ffprobe reads %d packets, %d were written", len(probe.Packets), len(got))
			}
			for i, p := range probe.Packets {
				want := packet{PTS: moved[i].PTS, DTS: moved[i].DTS, Size: strconv.Itoa(len(moved[i].Payload))}
				if p != want {
					t.Fatalf("packet %d: ffprobe reads %+v, want %+v", i, p, want)
				}
			}
			s := probe.Streams[0]
			if s.CodecName != string(track.Codec) || s.Width != track.Width || s.Height != track.Height {
				t.Errorf("ffprobe reads %+v of %+v", s, track)
			}
		})
	}
}

// The header must hold what another muxer writes into the boxes that decoders read.
func TestHeaderAgreesWithAnotherMuxer(t *testing.T) {
	rec := cmaftest.Record(t, append(testVideo[:len(testVideo):len(testVideo)], "-profile:v", "high")...)
	track := rec.Tracks[0]
	header, err := cmaf.AppendHeader(nil, track)
	if err != nil {
		t.Fatal(err)
	}
	f, err := mp4.DecodeFile(bytes.NewReader(header))
	if err != nil {
		t.Fatal(err)
	}
	got := f.Init.Moov.Trak.Mdia.Minf.Stbl.Stsd.AvcX
	want, err := mp4.CreateAvcC([][]byte{track.SPS}, [][]byte{track.PPS}, true)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.DecConfRec, got.AvcC.DecConfRec); d != "" {
		t.Errorf("avcC (-mp4ff +ours):\n%s", d)
	}
	if got.Width != 320 || got.Height != 180 {
		t.Errorf("avc1 is %dx%d", got.Width, got.Height)
	}

	rec = cmaftest.Record(t, testAudio...)
	if header, err = cmaf.AppendHeader(nil, rec.Tracks[0]); err != nil {
		t.Fatal(err)
	}
	if f, err = mp4.DecodeFile(bytes.NewReader(header)); err != nil {
		t.Fatal(err)
	}
	mp4a := f.Init.Moov.Trak.Mdia.Minf.Stbl.Stsd.Mp4a
	if d := cmp.Diff(rec.Tracks[0].AudioSpecificConfig, mp4a.Esds.DecConfigDescriptor.DecSpecificInfo.DecConfig); d != "" {
		t.Errorf("AudioSpecificConfig (-want +got):\n%s", d)
	}
	if mp4a.SampleRate != 44100 || mp4a.Esds.DecConfigDescriptor.ObjectType != 0x40 {
		t.Errorf("mp4a: sample rate %d, object type %#x", mp4a.SampleRate, mp4a.Esds.DecConfigDescriptor.ObjectType)
	}
}

func TestHeaderRefuses(t *testing.T) {
	good := media.Track{Codec: media.H264, Timescale: 90000, SPS: []byte{0x67, 66, 0, 30}, PPS: []byte{0x68}}
	if _, err := cmaf.AppendHeader(nil, good); err != nil {
		t.Fatalf("the least track: %v", err)
	}
	for name, change := range map[string]func(*media.Track){
		"no timescale":     func(t *media.Track) { t.Timescale = 0 },
		"no parameter set": func(t *media.Track) { t.SPS = nil },
		"no picture set":   func(t *media.Track) { t.PPS = nil },
		"huge picture":     func(t *media.Track) { t.Width = 70000 },
		"unknown codec":    func(t *media.Track) { t.Codec = "vp6" },
		"short AAC":        func(t *media.Track) { t.Codec = media.AAC; t.AudioSpecificConfig = []byte{0x12} },
		"long AAC":         func(t *media.Track) { t.Codec = media.AAC; t.AudioSpecificConfig = make([]byte, 65) },
	} {
		t.Run(name, func(t *testing.T) {
			track := good
			change(&track)
			if _, err := cmaf.AppendHeader(nil, track); !errors.Is(err, cmaf.ErrTrack) {
				t.Errorf("err = %v, want ErrTrack", err)
			}
		})
	}
}

func TestChunkWithoutSamplesIsNothing(t *testing.T) {
	var c cmaf.Chunk
	b, err := c.Append([]byte("x"))
	if err != nil || string(b) != "x" || c.Size() != 0 {
		t.Errorf("Append = %q, %v; Size = %d", b, err, c.Size())
	}
}

// Whatever the samples are, the size is exact and another parser reads the same back.
func FuzzChunk(f *testing.F) {
	f.Add(uint64(0), int32(0), uint32(3000), []byte{1, 2, 3, 4, 5})
	f.Add(uint64(1)<<40, int32(-3000), uint32(1), []byte{0, 255, 7, 7, 7, 9})
	f.Fuzz(func(t *testing.T, at uint64, offset int32, duration uint32, shape []byte) {
		if len(shape) == 0 || len(shape) > 500 {
			return
		}
		at &= 1<<62 - 1
		c := cmaf.Chunk{Sequence: 1, DecodeTime: at}
		for _, v := range shape {
			c.Samples = append(c.Samples, cmaf.Sample{
				Duration: duration + uint32(v&1), CompositionOffset: offset * int32(v>>1&1), Sync: v&4 != 0, Data: shape[:1+int(v>>3)%len(shape)],
			})
		}
		b, err := cmaf.Segment(c)
		if err != nil {
			t.Fatal(err)
		}
		header, err := cmaf.AppendHeader(nil, media.Track{Codec: media.H264, Timescale: 90000, SPS: []byte{0x67, 66, 0, 30}, PPS: []byte{0x68}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := cmaftest.Read(header, b)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(c.Samples) {
			t.Fatalf("%d samples read, %d written", len(got), len(c.Samples))
		}
		for i, s := range c.Samples {
			if got[i].DTS != int64(at) || got[i].Duration != s.Duration || got[i].PTS != int64(at)+int64(s.CompositionOffset) ||
				got[i].Sync != s.Sync || !bytes.Equal(got[i].Data, s.Data) {
				t.Fatalf("sample %d: %+v of %+v", i, got[i], s)
			}
			at += uint64(s.Duration)
		}
	})
}

// The SPS comes from publishers: whatever it holds, a header of it can be parsed.
func FuzzHeader(f *testing.F) {
	f.Add([]byte{0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50}, []byte{0x12, 0x10})
	f.Add([]byte{0x67, 0x7a, 0, 0x1f, 0, 0, 3, 0, 0, 3}, []byte{0xf8, 0x21, 0, 0})
	f.Fuzz(func(t *testing.T, sps, asc []byte) {
		for _, track := range []media.Track{
			{Codec: media.H264, Timescale: 90000, SPS: sps, PPS: []byte{0x68}},
			{Codec: media.AAC, Timescale: 48000, SampleRate: 48000, Channels: 2, AudioSpecificConfig: asc},
		} {
			b, err := cmaf.AppendHeader(nil, track)
			if err != nil {
				continue
			}
			if _, err := mp4.DecodeFile(bytes.NewReader(b)); err != nil {
				t.Fatalf("%s: %v", track.Codec, err)
			}
		}
	})
}
