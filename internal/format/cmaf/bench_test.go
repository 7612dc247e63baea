package cmaf_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"

	"github.com/weir-stream/weir/internal/format/cmaf"
	"github.com/weir-stream/weir/internal/media"
)

// twoSeconds returns 2 s of a stream of 3 Mbit/s at 30 pictures a second, or of AAC at 128 kbit/s.
func twoSeconds(kind media.Kind) []media.Unit {
	count, step, size := 60, int64(3000), 10_000
	if kind == media.Audio {
		count, step, size = 94, 1024, 341
	}
	units := make([]media.Unit, count)
	for i := range units {
		n := size
		if kind == media.Video {
			if i == 0 {
				n = 100_000
			} else {
				n = 11_000
			}
		}
		units[i] = media.Unit{DTS: int64(i) * step, PTS: int64(i)*step + step, Keyframe: kind == media.Audio || i == 0, Payload: make([]byte, n)}
	}
	return units
}

// BenchmarkSegment writes one segment of 2 s, by each of the muxers between which ADR 0003 decides.
func BenchmarkSegment(b *testing.B) {
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		units := twoSeconds(kind)
		payload := 0
		for _, u := range units {
			payload += len(u.Payload)
		}
		for _, muxer := range []struct {
			name  string
			write func([]media.Unit) (int, error)
		}{{"own", byOwn}, {"mp4ff", byMP4FF}, {"mediacommon", byMediacommon}} {
			b.Run(fmt.Sprintf("%s/%s", kind, muxer.name), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(payload))
				size := 0
				for b.Loop() {
					var err error
					if size, err = muxer.write(units); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size-payload), "overhead-B")
			})
		}
	}
}

func byOwn(units []media.Unit) (int, error) {
	out, err := cmaf.Segment(chunkOf(units, 1))
	return len(out), err
}

func byMP4FF(units []media.Unit) (int, error) {
	segment := mp4.NewMediaSegment()
	fragment, err := mp4.CreateFragment(1, 1)
	if err != nil {
		return 0, err
	}
	segment.AddFragment(fragment)
	segment.EncOptimize = mp4.OptimizeTrun
	c := chunkOf(units, 1)
	at := c.DecodeTime
	for _, s := range c.Samples {
		flags := mp4.NonSyncSampleFlags
		if s.Sync {
			flags = mp4.SyncSampleFlags
		}
		fragment.AddFullSample(mp4.FullSample{
			Sample:     mp4.NewSample(flags, s.Duration, uint32(len(s.Data)), s.CompositionOffset),
			DecodeTime: at, Data: s.Data,
		})
		at += uint64(s.Duration)
	}
	out := bytes.NewBuffer(make([]byte, 0, segment.Size()))
	err = segment.Encode(out)
	return out.Len(), err
}

func byMediacommon(units []media.Unit) (int, error) {
	track := &fmp4.PartTrack{ID: 1, BaseTime: uint64(units[0].DTS)}
	for _, s := range chunkOf(units, 1).Samples {
		track.Samples = append(track.Samples, &fmp4.Sample{Duration: s.Duration, PTSOffset: s.CompositionOffset, IsNonSyncSample: !s.Sync, Payload: s.Data})
	}
	var out seekablebuffer.Buffer
	err := fmp4.Part{SequenceNumber: 1, Tracks: []*fmp4.PartTrack{track}}.Marshal(&out)
	return len(out.Bytes()), err
}
