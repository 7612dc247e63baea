// Package cmaftest makes real H.264 and AAC with ffmpeg for tests, and reads CMAF back with a parser
// that is not ours (mp4ff).
package cmaftest

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/weir-stream/weir/internal/media"
)

// Sample is a sample as it was read back.
type Sample struct {
	DTS, PTS int64
	Duration uint32
	Sync     bool
	Data     []byte
}

// Read reads the samples of a header and its segments.
func Read(header []byte, segments ...[]byte) ([]Sample, error) {
	data := slices.Concat(append([][]byte{header}, segments...)...)
	f, err := mp4.DecodeFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("parse CMAF: %w", err)
	}
	var samples []Sample
	for _, segment := range f.Segments {
		for _, fragment := range segment.Fragments {
			full, err := fragment.GetFullSamples(f.Init.Moov.Mvex.Trex)
			if err != nil {
				return nil, fmt.Errorf("read a fragment's samples: %w", err)
			}
			for _, s := range full {
				samples = append(samples, Sample{
					DTS: int64(s.DecodeTime), PTS: s.PresentationTime(), Duration: s.Dur, Sync: s.IsSync(), Data: s.Data,
				})
			}
		}
	}
	return samples, nil
}

// The IDs of the tracks of a [Recording].
const (
	VideoID = 1
	AudioID = 2
)

// Recording is a stream as a publisher would send it.
type Recording struct {
	Tracks []media.Track
	// Units are the units of all tracks in order of decoding time.
	Units []media.Unit
}

// Track returns the track with the ID.
func (r *Recording) Track(id int) media.Track {
	for _, t := range r.Tracks {
		if t.ID == id {
			return t
		}
	}
	return media.Track{}
}

// Record runs ffmpeg with the arguments and returns the H.264 and AAC that it codes. It skips the
// test if there is no ffmpeg.
func Record(t testing.TB, args ...string) *Recording {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recording.mp4")
	Run(t, "ffmpeg", slices.Concat([]string{"-hide_banner", "-loglevel", "error", "-nostdin"}, args,
		[]string{"-video_track_timescale", "90000", "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-y", path})...)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := mp4.DecodeFile(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("parse ffmpeg's file: %v", err)
	}
	r := &Recording{}
	for _, trak := range f.Init.Moov.Traks {
		track := media.Track{Timescale: trak.Mdia.Mdhd.Timescale}
		stsd := trak.Mdia.Minf.Stbl.Stsd
		switch {
		case stsd.AvcX != nil:
			track.ID, track.Codec = VideoID, media.H264
			track.SPS, track.PPS = stsd.AvcX.AvcC.SPSnalus[0], stsd.AvcX.AvcC.PPSnalus[0]
			track.Width, track.Height = int(stsd.AvcX.Width), int(stsd.AvcX.Height)
		case stsd.Mp4a != nil:
			track.ID, track.Codec = AudioID, media.AAC
			track.AudioSpecificConfig = stsd.Mp4a.Esds.DecConfigDescriptor.DecSpecificInfo.DecConfig
			track.SampleRate, track.Channels = int(track.Timescale), int(stsd.Mp4a.ChannelCount)
		default:
			t.Fatalf("ffmpeg wrote a track that is neither H.264 nor AAC")
		}
		r.Tracks = append(r.Tracks, track)
		trex, _ := f.Init.Moov.Mvex.GetTrex(trak.Tkhd.TrackID)
		for _, segment := range f.Segments {
			for _, fragment := range segment.Fragments {
				samples, err := fragment.GetFullSamples(trex)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range samples {
					r.Units = append(r.Units, media.Unit{
						Track: track.ID, DTS: int64(s.DecodeTime), PTS: s.PresentationTime(),
						Keyframe: s.IsSync(), Payload: bytes.Clone(s.Data),
					})
				}
			}
		}
	}
	at := func(u media.Unit) time.Duration {
		return time.Duration(float64(u.DTS) / float64(r.Track(u.Track).Timescale) * 1e9)
	}
	slices.SortStableFunc(r.Units, func(a, b media.Unit) int { return cmp.Compare(at(a), at(b)) })
	return r
}

// Run runs a program and returns what it writes to standard output. Anything on standard error fails
// the test, so with ffmpeg's "-loglevel error" or "warning" a complaint is a failure.
func Run(t testing.TB, program string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s %v: %v\n%s", program, args, err, stderr.String())
	}
	return stdout.String()
}
