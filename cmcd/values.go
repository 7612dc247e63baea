package cmcd

import (
	"iter"
	"math/bits"
	"slices"
	"strings"
)

// Values are the keys and values of one CMCD record. The zero value holds none, and is of
// version 1. Values are made by the decoding functions of this package or with the Set methods; a
// copy shares its strings with the original and may be kept, unless they are those of a [Decoder].
type Values struct {
	has   uint64
	flags uint64
	// single has the list keys with just one item that has no parameter. Their values lie in the
	// tail of nums or texts, so that a record of version 1 needs no list.
	single uint64
	nums   [numberCount + listCount]float64
	texts  [textCount + 2]string
	// spans are where the lists of several items lie in numbers or strings. A decoder uses the memory
	// again, so that what is not in has means nothing.
	spans   [listCount]span
	numbers []numberItem
	strings []stringItem
	// Custom are the keys that the specification does not define, in the order they came.
	Custom []CustomValue
	// Warnings are the tolerances that decoding made use of.
	Warnings Warning
}

// span is where a list lies.
type span struct{ start, end uint32 }

// numberItem and stringItem are what an Item of a numeric list and one of a list of strings hold.
type (
	numberItem struct {
		number     float64
		objectType string
	}
	stringItem struct{ text, byteRange string }
)

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
// for the record's own object type (ot), see [Values.NumberFor].
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

// NumberFor returns the item of the numeric list k that is for objectType, else the one that is for no
// type of object. If there is neither it returns the first item, but not where objectType is that of one
// track ("v", "a", "c" or "tt"): what is said of video is not true of audio.
func (v *Values) NumberFor(k Key, objectType string) (float64, bool) {
	if !v.Has(k) || k.Type() != NumberListType {
		return 0, false
	}
	if v.single&(1<<k) != 0 {
		return v.nums[numberCount+k.slot()], true
	}
	items := v.numbersOf(k)
	if len(items) == 0 {
		return 0, false
	}
	general := -1
	for i := range items {
		switch items[i].objectType {
		case "":
			if general < 0 {
				general = i
			}
		case objectType:
			return items[i].number, true
		}
	}
	switch {
	case general >= 0:
		return items[general].number, true
	case objectType == "v", objectType == "a", objectType == "c", objectType == "tt":
		return 0, false
	default:
		return items[0].number, true
	}
}

// Text returns the value of a string or token key, "" if the record does not have it.
func (v *Values) Text(k Key) string {
	if !v.Has(k) || k.Type() != TextType && k.Type() != TokenType {
		return ""
	}
	return v.texts[k.slot()]
}

// List returns the items of a list key, nil if the record does not have it.
func (v *Values) List(k Key) []Item {
	if !v.Has(k) || k.Type() != NumberListType && k.Type() != TextListType {
		return nil
	}
	return slices.AppendSeq([]Item{}, v.Items(k))
}

// Items iterates over the items of a list key.
func (v *Values) Items(k Key) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		isText := k.Type() == TextListType
		switch {
		case !v.Has(k) || !isText && k.Type() != NumberListType:
		case v.single&(1<<k) != 0 && isText:
			yield(Item{Text: v.texts[k.singleText()]})
		case v.single&(1<<k) != 0:
			yield(Item{Number: v.nums[numberCount+k.slot()]})
		case isText:
			for _, item := range v.stringsOf(k) {
				if !yield(Item{Text: item.text, Range: item.byteRange}) {
					return
				}
			}
		default:
			for _, item := range v.numbersOf(k) {
				if !yield(Item{Number: item.number, Type: item.objectType}) {
					return
				}
			}
		}
	}
}

func (v *Values) numbersOf(k Key) []numberItem {
	s := v.spans[k.slot()]
	return v.numbers[s.start:s.end]
}

func (v *Values) stringsOf(k Key) []stringItem {
	s := v.spans[k.slot()]
	return v.strings[s.start:s.end]
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
	v.single &^= 1 << k
	if len(items) == 1 && items[0].Type == "" && items[0].Range == "" {
		v.setSingle(k, items[0].Number, items[0].Text)
		return
	}
	// The items of the other lists move to new memory, so that copies of v do not see each other's, and
	// those that k had before are gone.
	v.has &^= 1 << k
	var end int
	if k.Type() == TextListType {
		v.strings = moved(v, TextListType, v.strings, len(items))
		for _, item := range items {
			v.strings = append(v.strings, stringItem{item.Text, item.Range})
		}
		end = len(v.strings)
	} else {
		v.numbers = moved(v, NumberListType, v.numbers, len(items))
		for _, item := range items {
			v.numbers = append(v.numbers, numberItem{item.Number, item.Type})
		}
		end = len(v.numbers)
	}
	v.spans[k.slot()] = span{uint32(end - len(items)), uint32(end)}
	v.has |= 1 << k
}

// moved returns the items of v's lists of type t in new memory, with room for more.
func moved[T any](v *Values, t Type, items []T, more int) []T {
	all := make([]T, 0, len(items)+more)
	for k := range v.lists(t) {
		s := &v.spans[k.slot()]
		start := len(all)
		all = append(all, items[s.start:s.end]...)
		*s = span{uint32(start), uint32(len(all))}
	}
	return all
}

// lists iterates over the keys of type t that have other than one plain item.
func (v *Values) lists(t Type) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for k := range v.Keys() {
			if k.Type() == t && v.single&(1<<k) == 0 && !yield(k) {
				return
			}
		}
	}
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

func count(all []CustomValue, c CustomValue) int {
	n := 0
	for _, other := range all {
		if other == c {
			n++
		}
	}
	return n
}

// owned returns a copy that can be added to without others seeing it.
func (v *Values) owned() Values {
	w := *v
	w.Custom = slices.Clip(w.Custom)
	return w
}

// Delete takes key k out of the record.
func (v *Values) Delete(k Key) {
	v.has &^= 1 << k
	v.flags &^= 1 << k
	v.single &^= 1 << k
}

// CustomText returns the value of the custom key with that name, "" if the record does not have it.
func (v *Values) CustomText(name string) string {
	for i := range v.Custom {
		if v.Custom[i].Key == name {
			return v.Custom[i].Value
		}
	}
	return ""
}

// SetCustom gives the custom key with that name the value s, a string.
func (v *Values) SetCustom(name, s string) {
	custom := slices.Clone(v.Custom)
	i := slices.IndexFunc(custom, func(c CustomValue) bool { return c.Key == name })
	if i < 0 {
		i = len(custom)
		custom = append(custom, CustomValue{Key: name})
	}
	custom[i].Value, custom[i].Bare = s, false
	v.Custom = custom
}

// Clone returns a copy that shares no memory with v, nor with what v was decoded from: its strings lie
// in one piece of memory, which is as large as they are.
func (v *Values) Clone() Values {
	w := Values{has: v.has, flags: v.flags, single: v.single, Warnings: v.Warnings}
	numbers, list, size := 0, 0, 0
	for k := range v.Keys() {
		switch k.Type() {
		case TextType, TokenType:
			size += len(v.texts[k.slot()])
		case NumberListType, TextListType:
			for item := range v.Items(k) {
				size += len(item.Text) + len(item.Type) + len(item.Range)
			}
			if v.single&(1<<k) == 0 {
				s := v.spans[k.slot()]
				if k.Type() == TextListType {
					list += int(s.end - s.start)
				} else {
					numbers += int(s.end - s.start)
				}
			}
		default:
		}
	}
	for _, c := range v.Custom {
		size += len(c.Key) + len(c.Value)
	}
	var memory strings.Builder
	memory.Grow(size)
	keep := func(s string) string {
		start := memory.Len()
		memory.WriteString(s)
		return memory.String()[start:]
	}
	w.numbers, w.strings = slices.Grow(w.numbers, numbers), slices.Grow(w.strings, list)
	for k := range v.Keys() {
		switch k.Type() {
		case BoolType:
		case NumberType:
			w.nums[k.slot()] = v.nums[k.slot()]
		case TextType, TokenType:
			w.texts[k.slot()] = keep(v.texts[k.slot()])
		case NumberListType:
			if v.single&(1<<k) != 0 {
				w.nums[numberCount+k.slot()] = v.nums[numberCount+k.slot()]
				continue
			}
			start := len(w.numbers)
			for _, item := range v.numbersOf(k) {
				w.numbers = append(w.numbers, numberItem{item.number, keep(item.objectType)})
			}
			w.spans[k.slot()] = span{uint32(start), uint32(len(w.numbers))}
		case TextListType:
			if v.single&(1<<k) != 0 {
				w.texts[k.singleText()] = keep(v.texts[k.singleText()])
				continue
			}
			start := len(w.strings)
			for _, item := range v.stringsOf(k) {
				w.strings = append(w.strings, stringItem{keep(item.text), keep(item.byteRange)})
			}
			w.spans[k.slot()] = span{uint32(start), uint32(len(w.strings))}
		}
	}
	if len(v.Custom) > 0 {
		w.Custom = make([]CustomValue, len(v.Custom))
		for i, c := range v.Custom {
			w.Custom[i] = CustomValue{keep(c.Key), keep(c.Value), c.Bare}
		}
	}
	return w
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
		if count(v.Custom, c) != count(w.Custom, c) {
			return false
		}
	}
	return true
}
