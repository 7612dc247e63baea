package live

import (
	"time"

	"github.com/weir-stream/weir/internal/media"
)

// StreamInfo is what there is to tell about a stream at one moment.
type StreamInfo struct {
	Name  StreamName `json:"name"`
	State State      `json:"state"`
	// Protocol and Publisher say how and from which address it is published.
	Protocol  string    `json:"protocol"`
	Publisher string    `json:"publisher"`
	Since     time.Time `json:"since"`
	// Tracks are the tracks announced so far.
	Tracks []TrackInfo `json:"tracks"`
	// Units and Bytes were published so far.
	Units int64 `json:"units"`
	Bytes int64 `json:"bytes"`
	// Readers are those who read it from the hub.
	Readers []ReaderInfo `json:"readers"`
}

// TrackInfo is a track as people and agents are shown it.
type TrackInfo struct {
	ID         int         `json:"id"`
	Codec      media.Codec `json:"codec"`
	Parameters string      `json:"codec_string" doc:"RFC 6381 codecs parameter"`
	Width      int         `json:"width,omitempty"`
	Height     int         `json:"height,omitempty"`
	FrameRate  float64     `json:"frame_rate,omitempty"`
	SampleRate int         `json:"sample_rate,omitempty"`
	Channels   int         `json:"channels,omitempty"`
	Bitrate    int         `json:"bitrate,omitempty"`
}

// ReaderInfo is one reader of a stream.
type ReaderInfo struct {
	Name string `json:"name"`
	// Dropped is the number of units the reader has lost for being slow.
	Dropped int64 `json:"dropped_units"`
}

// Describe returns what t is as people are shown it.
func Describe(t media.Track) TrackInfo {
	return TrackInfo{
		ID: t.ID, Codec: t.Codec, Parameters: t.CodecString(), Width: t.Width, Height: t.Height,
		FrameRate: t.FrameRate, SampleRate: t.SampleRate, Channels: t.Channels, Bitrate: t.Bitrate,
	}
}
