package rtmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The markers of AMF0 (§2.1 of "Action Message Format -- AMF 0").
const (
	amfNumber      = 0x00
	amfBoolean     = 0x01
	amfString      = 0x02
	amfObject      = 0x03
	amfNull        = 0x05
	amfUndefined   = 0x06
	amfECMAArray   = 0x08
	amfObjectEnd   = 0x09
	amfStrictArray = 0x0A
	amfDate        = 0x0B
	amfLongString  = 0x0C
	amfUnsupported = 0x0D
	amfXML         = 0x0F
	amfTypedObject = 0x10
	amfAMF3        = 0x11
)

// What a message may hold at most. onMetaData of an encoder has depth 2 and fewer than 50 values.
const (
	maxAMFDepth  = 16
	maxAMFValues = 4096
)

var errAMFShort = errors.New("AMF0 ends within a value")

// Property is a named value of an Object.
type Property struct {
	Name  string
	Value any
}

// Object is an AMF0 object or ECMA array, in the order of the wire.
type Object []Property

// Get returns the value of a name, or nil.
func (o Object) Get(name string) any {
	for _, p := range o {
		if p.Name == name {
			return p.Value
		}
	}
	return nil
}

// String returns the text of a name, or "".
func (o Object) String(name string) string {
	s, _ := o.Get(name).(string)
	return s
}

// Number returns the number of a name, or 0.
func (o Object) Number(name string) float64 {
	n, _ := o.Get(name).(float64)
	return n
}

// DecodeAMF0 returns the values of b: float64, bool, string, Object, []any, and nil for null, undefined
// and unsupported.
func DecodeAMF0(b []byte) ([]any, error) {
	d := amfDecoder{rest: b}
	var values []any
	for len(d.rest) > 0 {
		v, err := d.value(0)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

type amfDecoder struct {
	rest   []byte
	values int
}

func (d *amfDecoder) take(n int) ([]byte, error) {
	if n < 0 || len(d.rest) < n {
		return nil, errAMFShort
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, nil
}

func (d *amfDecoder) value(depth int) (any, error) {
	if depth > maxAMFDepth {
		return nil, fmt.Errorf("AMF0 values nested more than %d deep", maxAMFDepth)
	}
	if d.values++; d.values > maxAMFValues {
		return nil, fmt.Errorf("more than %d AMF0 values", maxAMFValues)
	}
	marker, err := d.take(1)
	if err != nil {
		return nil, err
	}
	switch marker[0] {
	case amfNumber:
		b, err := d.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case amfBoolean:
		b, err := d.take(1)
		if err != nil {
			return nil, err
		}
		return b[0] != 0, nil
	case amfString:
		return d.text(2)
	case amfLongString, amfXML:
		return d.text(4)
	case amfNull, amfUndefined, amfUnsupported:
		return nil, nil
	case amfObject:
		return d.object(depth)
	case amfTypedObject:
		if _, err := d.text(2); err != nil { // the name of the class
			return nil, err
		}
		return d.object(depth)
	case amfECMAArray:
		if _, err := d.take(4); err != nil { // the count is a hint, and often wrong
			return nil, err
		}
		return d.object(depth)
	case amfStrictArray:
		return d.array(depth)
	case amfDate:
		b, err := d.take(10) // milliseconds, and a time zone that is not used
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case amfAMF3:
		return nil, errors.New("AMF3 value, expected AMF0")
	default:
		return nil, fmt.Errorf("AMF0 marker 0x%02x is not known", marker[0])
	}
}

func (d *amfDecoder) text(lengthSize int) (string, error) {
	b, err := d.take(lengthSize)
	if err != nil {
		return "", err
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	s, err := d.take(int(n))
	return string(s), err
}

func (d *amfDecoder) object(depth int) (any, error) {
	o := Object{}
	for {
		name, err := d.text(2)
		if err != nil {
			return nil, err
		}
		if name == "" && len(d.rest) > 0 && d.rest[0] == amfObjectEnd {
			d.rest = d.rest[1:]
			return o, nil
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o = append(o, Property{name, v})
	}
}

func (d *amfDecoder) array(depth int) (any, error) {
	b, err := d.take(4)
	if err != nil {
		return nil, err
	}
	a := []any{}
	for range binary.BigEndian.Uint32(b) { // ends with the input, whatever the count claims
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	return a, nil
}

// EncodeAMF0 encodes values of the types that [DecodeAMF0] returns. A value of another type is a mistake
// in the program, and becomes null.
func EncodeAMF0(values ...any) []byte {
	var b []byte
	for _, v := range values {
		b = appendAMF0(b, v)
	}
	return b
}

func appendAMF0(b []byte, v any) []byte {
	switch v := v.(type) {
	case float64:
		return binary.BigEndian.AppendUint64(append(b, amfNumber), math.Float64bits(v))
	case bool:
		if v {
			return append(b, amfBoolean, 1)
		}
		return append(b, amfBoolean, 0)
	case string:
		if len(v) > math.MaxUint16 {
			b = binary.BigEndian.AppendUint32(append(b, amfLongString), uint32(len(v)))
		} else {
			b = binary.BigEndian.AppendUint16(append(b, amfString), uint16(len(v)))
		}
		return append(b, v...)
	case Object:
		b = append(b, amfObject)
		for _, p := range v {
			name := p.Name[:min(len(p.Name), math.MaxUint16)]
			b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
			b = append(b, name...)
			b = appendAMF0(b, p.Value)
		}
		return append(b, 0, 0, amfObjectEnd)
	case []any:
		b = binary.BigEndian.AppendUint32(append(b, amfStrictArray), uint32(len(v)))
		for _, e := range v {
			b = appendAMF0(b, e)
		}
		return b
	default:
		return append(b, amfNull)
	}
}
