package cmcd

import (
	"iter"
	"math/bits"
	"slices"
)

// Values are the keys and values of one CMCD record. The zero value holds none, and is of
// version 1. Values are made by the decoding functions of this package or with the Set methods; a
// copy shares its strings with the original and may be kept.
type Values struct {
	has   uint64
	flags uint64
	// single has the list keys with just one item that has no parameter. Their values lie in the
	// tail of nums or texts, so that a record of version 1 needs no list.
	single uint64
	nums   [numberCount + listCount]float64
	texts  [textCount + 2]string
	spans  [listCount]span
	items  []Item
	// Custom are the keys that the specification does not define, in the order they came.
	Custom []CustomValue
	// Warnings are the tolerances that decoding made use of.
	Warnings Warning
}

// span is where a list lies in items.
type span struct{ start, end uint32 }

// Item is one member of an inner list such as br=(3000;v 128;a), or a scalar where version 1 has
// no list.
type Item struct {
	// Number is the value of a numeric list, in the key's own unit.
	Number float64
	// Text is the value of nor and ec.
	Text string
	// Type is the object type the value speaks of ("v", "a", …), "" if the record does not say.
	Type string
	// Range is the byte range of a nor item ("0-99"), "" if it has none.
	Range string
}

// CustomValue is a key outside the specification (§3.3). Such keys have a hyphen in them.
type CustomValue struct {
	Key string
	// Value is the text of the string. If Bare it is what stands on the wire instead of a string:
	// a token, a number, a list, or "" for the boolean true.
	Value string
	// Bare says that the value is written without quotes.
	Bare bool
}

// Has reports whether the record has key k.
func (v *Values) Has(k Key) bool { return v.has&(1<<k) != 0 }

// Len returns the number of specified keys that the record has.
func (v *Values) Len() int { return bits.OnesCount64(v.has) }

// Keys iterates over the specified keys that the record has, in alphabetical order.
func (v *Values) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for set := v.has; set != 0; set &= set - 1 {
			if !yield(Key(bits.TrailingZeros64(set))) {
				return
			}
		}
	}
}

// Bool returns the value of a boolean key; false if the record does not have it.
func (v *Values) Bool(k Key) bool { return v.flags&(1<<k) != 0 }

// Number returns the value of a numeric key in the key's own unit. Of a list it returns the item
// that speaks of the record's own object type (ot), else the first.
func (v *Values) Number(k Key) (float64, bool) {
	if !v.Has(k) {
		return 0, false
	}
	switch k.Type() {
	case NumberType:
		return v.nums[k.slot()], true
	case NumberListType:
		return v.NumberFor(k, v.Text(KeyOT))
	default:
		return 0, false
	}
}

// NumberFor returns the item of the numeric list k that speaks of objectType, else the first item.
func (v *Values) NumberFor(k Key, objectType string) (float64, bool) {
	if !v.Has(k) || k.Type() != NumberListType {
		return 0, false
	}
	if v.single&(1<<k) != 0 {
		return v.nums[numberCount+k.slot()], true
	}
	items := v.many(k)
	if len(items) == 0 {
		return 0, false
	}
	for _, item := range items {
		if objectType != "" && item.Type == objectType {
			return item.Number, true
		}
	}
	return items[0].Number, true
}

// Text returns the value of a string or token key, "" if the record does not have it.
func (v *Values) Text(k Key) string {
	if !v.Has(k) || k.Type() != TextType && k.Type() != TokenType {
		return ""
	}
	return v.texts[k.slot()]
}

// List returns the items of a list key. The caller must not change them.
func (v *Values) List(k Key) []Item {
	if !v.Has(k) || k.Type() != NumberListType && k.Type() != TextListType {
		return nil
	}
	if v.single&(1<<k) == 0 {
		return v.many(k)
	}
	if k.Type() == TextListType {
		return []Item{{Text: v.texts[k.singleText()]}}
	}
	return []Item{{Number: v.nums[numberCount+k.slot()]}}
}

func (v *Values) many(k Key) []Item {
	s := v.spans[k.slot()]
	return v.items[s.start:s.end:s.end]
}

// Version returns the version of CMCD that the record is of: its key v, else 1.
func (v *Values) Version() int {
	if n, ok := v.Number(KeyV); ok {
		return int(n)
	}
	return 1
}

// SetBool gives boolean key k the value b. It panics if k is not boolean, as the other Set methods
// do for theirs: the key is the programmer's, never the input's.
func (v *Values) SetBool(k Key, b bool) {
	k.must(BoolType, BoolType)
	v.has |= 1 << k
	v.flags &^= 1 << k
	if b {
		v.flags |= 1 << k
	}
}

// SetNumber gives numeric key k the value n, in the key's own unit.
func (v *Values) SetNumber(k Key, n float64) {
	k.must(NumberType, NumberType)
	v.has |= 1 << k
	v.nums[k.slot()] = n
}

// SetText gives string or token key k the value s.
func (v *Values) SetText(k Key, s string) {
	k.must(TextType, TokenType)
	v.has |= 1 << k
	v.texts[k.slot()] = s
}

// SetList gives list key k the items.
func (v *Values) SetList(k Key, items ...Item) {
	k.must(NumberListType, TextListType)
	v.has |= 1 << k
	v.single &^= 1 << k
	if len(items) == 1 && items[0].Type == "" && items[0].Range == "" {
		v.setSingle(k, items[0].Number, items[0].Text)
		return
	}
	// The clipped capacity makes append copy, so that copies of v do not see each other's items.
	start := len(v.items)
	v.items = append(v.items[:start:start], items...)
	v.spans[k.slot()] = span{uint32(start), uint32(len(v.items))}
}

func (v *Values) setSingle(k Key, number float64, text string) {
	v.has |= 1 << k
	v.single |= 1 << k
	if k.Type() == TextListType {
		v.texts[k.singleText()] = text
	} else {
		v.nums[numberCount+k.slot()] = number
	}
}

// Equal reports whether v and w say the same. Warnings do not count, and neither does the order of
// the custom keys.
func (v *Values) Equal(w *Values) bool {
	if v.has != w.has || v.flags != w.flags || len(v.Custom) != len(w.Custom) {
		return false
	}
	for k := range v.Keys() {
		var same bool
		switch k.Type() {
		case BoolType:
			same = true
		case NumberType:
			same = v.nums[k.slot()] == w.nums[k.slot()]
		case TextType, TokenType:
			same = v.texts[k.slot()] == w.texts[k.slot()]
		default:
			same = slices.Equal(v.List(k), w.List(k))
		}
		if !same {
			return false
		}
	}
	for _, c := range v.Custom {
		if !slices.Contains(w.Custom, c) {
			return false
		}
	}
	return true
}
