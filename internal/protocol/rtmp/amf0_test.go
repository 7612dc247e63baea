package rtmp

import (
	"bytes"
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestAMF0RoundTrip(t *testing.T) {
	values := []any{
		"publish", 3.0, nil, true, false, math.Inf(1), "", strings.Repeat("x", 70_000),
		Object{{"app", "live"}, {"nested", Object{{"a", 1.0}}}, {"", "no name"}},
		[]any{1.0, "two", nil, []any{}},
	}
	got, err := DecodeAMF0(EncodeAMF0(values...))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, values) {
		t.Errorf("got %v\nwant %v", got, values)
	}
}

func TestDecodeAMF0(t *testing.T) {
	for _, test := range []struct {
		name, hex string
		want      any
	}{
		{"ECMA array with a wrong count", "08 000000FF 0001 61 00 3FF0000000000000 0000 09", Object{{"a", 1.0}}},
		{"typed object", "10 0001 43 0001 61 0101 0000 09", Object{{"a", true}}},
		{"date", "0B 3FF0000000000000 0000", 1.0},
		{"undefined", "06", nil},
		{"long string", "0C 00000002 6869", "hi"},
		{"XML", "0F 00000002 6869", "hi"},
		{"strict array", "0A 00000002 0101 05", []any{true, nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := DecodeAMF0(fromHex(t, test.hex))
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], test.want) {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestDecodeAMF0Refuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		data       []byte
	}{
		{"an end within a value", "ends within", []byte{amfNumber, 0}},
		{"an object without an end", "ends within", []byte{amfObject, 0, 1, 'a', amfNull}},
		{"a marker that is none", "not known", []byte{0x77}},
		{"AMF3", "expected AMF0", []byte{amfAMF3, 1}},
		{"depth", "deep", bytes.Repeat([]byte{amfStrictArray, 0, 0, 0, 1}, 100)},
		{"number of values", "more than", bytes.Repeat([]byte{amfNull}, maxAMFValues+1)},
		{"a count that is not there", "ends within", []byte{amfStrictArray, 0xFF, 0xFF, 0xFF, 0xFF}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := DecodeAMF0(test.data)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzAMF0(f *testing.F) {
	f.Add(EncodeAMF0("connect", 1.0, Object{{"app", "live"}, {"list", []any{"avc1", nil, true}}}))
	f.Add([]byte{amfECMAArray, 0, 0, 0, 1, 0, 1, 'a', amfLongString, 0, 0, 0, 1, 'b', 0, 0, amfObjectEnd})
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := DecodeAMF0(data)
		if err != nil {
			return
		}
		// NaN is not equal to itself, so the encodings are compared.
		encoded := EncodeAMF0(values...)
		again, err := DecodeAMF0(encoded)
		if err != nil {
			t.Fatalf("cannot decode what was encoded: %v", err)
		}
		if !bytes.Equal(EncodeAMF0(again...), encoded) {
			t.Error("values change as they are encoded")
		}
	})
}
