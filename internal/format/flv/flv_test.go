package flv

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseVideo(t *testing.T) {
	for _, test := range []struct {
		name, hex string
		want      Tag
		data      string
	}{
		{"configuration", "17 00 000000 0164", Tag{Type: Config, Codec: AVC}, "0164"},
		{"keyframe", "17 01 000050 AABB", Tag{Type: Frame, Codec: AVC, CompositionOffset: 80}, "AABB"},
		{"negative composition offset", "27 01 FFFFD8 AA", Tag{Type: Frame, Codec: AVC, CompositionOffset: -40}, "AA"},
		{"end of sequence", "17 02 000000", Tag{Type: Other, Codec: AVC}, ""},
		{"command frame", "57 00", Tag{Type: Other, Codec: AVC}, ""},
		{"empty", "", Tag{Type: Other}, ""},
		{"legacy HEVC", "1C 00 000000 01", Tag{Type: Config, Codec: "hvc1"}, "01"},
		{"Sorenson", "12 AA", Tag{Type: Frame, Codec: "Sorenson H.263"}, "AA"},
		{"unknown", "1F AA", Tag{Type: Frame, Codec: "codec ID 15"}, "AA"},
		{"enhanced configuration", "90 61766331 01", Tag{Type: Config, Codec: AVC}, "01"},
		{"enhanced frame", "91 61766331 FFFFFF AA", Tag{Type: Frame, Codec: AVC, CompositionOffset: -1}, "AA"},
		{"enhanced frame without offset", "93 61766331 AA", Tag{Type: Frame, Codec: AVC}, "AA"},
		{"enhanced HEVC", "90 68766331 01", Tag{Type: Config, Codec: "hvc1"}, "01"},
		{"enhanced AV1 frame has no offset", "91 61763031 AA", Tag{Type: Frame, Codec: "av01"}, "AA"},
		{"enhanced metadata", "94 61766331 02", Tag{Type: Other, Codec: AVC}, "02"},
		{"modifier of one byte and nanoseconds", "97 02 000001 01 61766331 000000 AA", Tag{Type: Frame, Codec: AVC}, "AA"},
		{"one track", "96 01 61766331 00 000000 AA", Tag{Type: Frame, Codec: AVC}, "AA"},
		{"another track", "96 01 61766331 01 000000 AA", Tag{Type: Other}, ""},
		{"many tracks", "96 11 61766331 00 000003 000000", Tag{Type: Other}, ""},
		{"fourCC that is not text", "90 01020304", Tag{Type: Config, Codec: "fourCC 01020304"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseVideo(unhex(t, test.hex))
			check(t, got, err, test.want, unhex(t, test.data))
		})
	}
}

func TestParseAudio(t *testing.T) {
	for _, test := range []struct {
		name, hex string
		want      Tag
		data      string
	}{
		{"configuration", "AF 00 1190", Tag{Type: Config, Codec: AAC, Stereo: true}, "1190"},
		{"frame", "AE 01 2110", Tag{Type: Frame, Codec: AAC}, "2110"},
		{"MP3", "2F FFFB", Tag{Type: Frame, Codec: ".mp3", Stereo: true}, "FFFB"},
		{"unknown", "C0", Tag{Type: Frame, Codec: "sound format 12"}, ""},
		{"empty", "", Tag{Type: Other}, ""},
		{"enhanced configuration", "90 6D703461 1190", Tag{Type: Config, Codec: AAC}, "1190"},
		{"enhanced frame", "91 6D703461 21", Tag{Type: Frame, Codec: AAC}, "21"},
		{"enhanced Opus", "90 4F707573 01", Tag{Type: Config, Codec: "Opus"}, "01"},
		{"channel layout", "94 6D703461 01", Tag{Type: Other, Codec: AAC}, "01"},
		{"one track", "95 01 6D703461 00 21", Tag{Type: Frame, Codec: AAC}, "21"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseAudio(unhex(t, test.hex))
			check(t, got, err, test.want, unhex(t, test.data))
		})
	}
}

func check(t *testing.T, got Tag, err error, want Tag, data []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Data, data) {
		t.Errorf("data is %x, want %x", got.Data, data)
	}
	got.Data = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTagsThatEndTooEarly(t *testing.T) {
	for _, s := range []string{"17", "17010000", "17030000 00", "90", "90617663", "91617663310000", "97", "97FF00", "970200", "96", "9601617663 31"} {
		if tag, err := ParseVideo(unhex(t, s)); err == nil {
			t.Errorf("video %s was read as %+v", s, tag)
		}
	}
	for _, s := range []string{"AF", "AF02", "90", "916D70", "95", "95016D703461"} {
		if tag, err := ParseAudio(unhex(t, s)); err == nil {
			t.Errorf("audio %s was read as %+v", s, tag)
		}
	}
}

func TestParseAVCConfig(t *testing.T) {
	got, err := ParseAVCConfig(unhex(t, "01 64001F FF E2 0003 67AABB 0001 67 02 0002 68CC 0001 68 FDF8F800"))
	if err != nil {
		t.Fatal(err)
	}
	want := AVCConfig{
		LengthSize: 4,
		SPS:        [][]byte{{0x67, 0xAA, 0xBB}, {0x67}},
		PPS:        [][]byte{{0x68, 0xCC}, {0x68}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for name, s := range map[string]string{
		"empty": "", "short": "01 64001F FF", "version": "02 64001F FF E1 0001 67 01 0001 68", "no SPS": "01 64001F FF E0 01 0001 68",
		"no PPS": "01 64001F FF E1 0001 67 00", "ends before the PPS": "01 64001F FF E1 0001 67", "long SPS": "01 64001F FF E1 0009 67",
		"lengths of three bytes": "01 64001F FE E1 0001 67 01 0001 68",
	} {
		if got, err := ParseAVCConfig(unhex(t, s)); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

func TestParseAVC(t *testing.T) {
	for _, test := range []struct {
		name, hex  string
		lengthSize int
		want       string
		key, coded bool
	}{
		{"IDR with delimiter and parameter sets", "00000002 09F0 00000001 67 00000001 68 00000002 6588", 4, "00000002 09F0 00000001 67 00000001 68 00000002 6588", true, true},
		{"not IDR", "00000002 419A", 4, "00000002 419A", false, true},
		{"data partition", "00000001 42", 4, "00000001 42", false, true},
		{"no picture", "00000002 0605", 4, "00000002 0605", false, false},
		{"lengths of two bytes", "0002 09F0 0001 65", 2, "00000002 09F0 00000001 65", true, true},
		{"lengths of one byte", "02 09F0 01 65", 1, "00000002 09F0 00000001 65", true, true},
		{"an empty NAL unit", "00000000 00000001 65", 4, "00000001 65", true, true},
		{"nothing", "", 4, "", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseAVC(unhex(t, test.hex), test.lengthSize)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Data, unhex(t, test.want)) || got.Keyframe != test.key || got.Coded != test.coded {
				t.Errorf("got %x keyframe=%v coded=%v", got.Data, got.Keyframe, got.Coded)
			}
		})
	}
	for _, s := range []string{"000000", "00000005 65", "FFFFFFFF 65"} {
		if _, err := ParseAVC(unhex(t, s), 4); err == nil {
			t.Errorf("%s was read", s)
		}
	}
}

func FuzzTags(f *testing.F) {
	for _, seed := range []string{"\x17\x00\x00\x00\x00\x01", "\x97\x02\x00\x00\x01\x01avc1\x00\x00\x00\xAA", "\x96\x01avc1\x00\x00\x00\x00", "\xAF\x01\x21", "\x95\x01mp4a\x00\x21"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, parse := range []func([]byte) (Tag, error){ParseVideo, ParseAudio} {
			tag, err := parse(body)
			if err == nil && (tag.Type < Config || tag.Type > Other) {
				t.Errorf("tag has type %d", tag.Type)
			}
			if len(tag.Data) > len(body) {
				t.Errorf("%d bytes of data in %d bytes", len(tag.Data), len(body))
			}
		}
	})
}

func FuzzAVC(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02\x09\xF0\x00\x00\x00\x00\x00\x00\x00\x01\x65"), byte(4))
	f.Add([]byte("\x02\x09\xF0\x01\x65"), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, size byte) {
		_, _ = ParseAVCConfig(data)
		lengthSize := []int{1, 2, 4}[size%3]
		got, err := ParseAVC(data, lengthSize)
		if err != nil {
			return
		}
		again, err := ParseAVC(got.Data, 4)
		if err != nil || !bytes.Equal(again.Data, got.Data) || again.Keyframe != got.Keyframe || again.Coded != got.Coded {
			t.Errorf("%x, rewritten as %x, is read as %+v, %v", data, got.Data, again, err)
		}
	})
}
