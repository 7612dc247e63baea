package client

import (
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/rules"
)

// Options say how a record is to be sent. The zero value is version 2 in request mode.
type Options struct {
	// Version is the version of CMCD, 1 or 2; 0 means 2. Reports of event mode are always of
	// version 2, because version 1 has none.
	Version int
	// Mode is the mode of reporting (§2). A [Sender] chooses it by itself.
	Mode cmcd.Mode
	// Keys are the keys that may be sent, nil for all. What the specification demands is sent in any
	// case: v, and in event mode e, ts and the key that the event speaks of.
	Keys []cmcd.Key
	// CustomKeys are the custom keys that may be sent, nil for all.
	CustomKeys []string
	// CustomHeaders are the headers for custom keys (§4.1 item 6); those that are not in it go where
	// [cmcd.Values.Headers] puts them.
	CustomHeaders map[string]cmcd.Header
	// BaseURL is the URL of the request that carries the record. The items of nor are made relative
	// to it. Without it, those that name a host are dropped, and a path that begins with a slash stays
	// as it is.
	BaseURL string
	// Now is the clock for ts, nil for [time.Now].
	Now func() time.Time
	// Lenient lets through what CTA-5004-B forbids although the reference library, and the players
	// that are built on it, send it: the key cdn, which is not in Table 1; in version 2 custom values
	// that are neither string nor token (§4.1 item 5); and cmsdd, cmsds and smrt that are no Base64.
	Lenient bool
}

func (o *Options) version() int {
	if o.Version == 1 && o.Mode == cmcd.RequestMode {
		return 1
	}
	return 2
}

func (o *Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// Limits of one record: no more than what the decoder of package cmcd keeps. Items are those of all lists,
// and what custom values that are lists or have parameters consist of.
const (
	maxCustom = 64
	maxItems  = 500
)

// Prepare returns what of v may be sent, as o says, in the form that the specification wants:
//
//   - Keys that the version or the mode does not have are dropped, as are those that go with another
//     event only, such as url without e=rr.
//   - Booleans that are false are dropped, and pr if it is 1, except where the event speaks of them.
//   - Numbers are rounded: bl, dl, mtp, rtp and tbl to 100, pr to three digits after the point, all
//     others to 1.
//   - Version 1 gets single values: of a list the one that [cmcd.Values.NumberFor] returns for the object's
//     type. It has no v; st=ll becomes l, and sf=e becomes o.
//   - The items of nor are made relative to the request. Version 1 gets the first of them that can be sent,
//     percent-encoded, and its range as nrr; version 2 gets nrr as the range of the first. If v is of
//     version 1 itself, its nor is taken for encoded where nothing in it would have to be. A nrr without nor
//     is the range of the object itself; it never goes with another object than the one that it came with.
//   - ab, lab and tab are dropped where br, lb and tb are known; d and tpb where the object's type
//     cannot have them.
//   - v is added, and in event mode ts, and bg=?0 to the event b without bg, which means the same.
//
// What cannot be sent is dropped, and the [cmcd.Values.Warnings] of the result tell of it:
// [cmcd.WarnBadValue] numbers out of range, and paths, ranges and Base64 that are none, [cmcd.WarnUnknownToken]
// tokens, [cmcd.WarnCharacter] strings that are not printable ASCII, [cmcd.WarnTooLong] strings beyond
// their limit (they are not cut: half an identifier is that of somebody else), [cmcd.WarnUnknownKey]
// custom keys without a prefix, and [cmcd.WarnTooMany] custom keys and list items without end.
//
// Prepare makes nothing up: an event without e, or without the key that it must have, stays as it is.
// [Sender.Record] refuses it. If v has no key that may be sent, the result is empty. If it has some, but none of
// their values is to be sent, such as bs=?0 alone, what is left is v=2, and in event mode ts.
func Prepare(v *cmcd.Values, o Options) cmcd.Values {
	p := preparation{in: v, o: &o, version: o.version()}
	p.objectType = p.token(cmcd.KeyOT)
	if o.Mode == cmcd.EventMode {
		p.event = p.token(cmcd.KeyE)
	}
	if base, err := url.Parse(o.BaseURL); err == nil && base.IsAbs() && base.Host != "" {
		p.base = base
	}
	sendable := false
	for k := range v.Keys() {
		if k != cmcd.KeyV && p.sendable(k) {
			sendable = true
			p.set(k)
		}
	}
	if p.custom() || sendable {
		p.complete()
	}
	return p.out
}

// preparation is one call of Prepare.
type preparation struct {
	in         *cmcd.Values
	out        cmcd.Values
	o          *Options
	version    int
	objectType string   // "" if it is not known
	event      string   // "" in request mode
	base       *url.URL // nil if there is none
	items      int      // of all lists so far
}

func (p *preparation) warn(w cmcd.Warning) { p.out.Warnings |= w }

// sendable reports whether key k may be sent here, whatever its value is.
func (p *preparation) sendable(k cmcd.Key) bool {
	switch {
	case !k.In(p.version, p.o.Mode),
		k.ResponseOnly() && p.event != "rr",
		k == cmcd.KeyCEN && p.event != "ce",
		k == cmcd.KeyCDN && !p.o.Lenient:
		return false
	}
	return p.o.Keys == nil || slices.Contains(p.o.Keys, k) || p.demanded(k)
}

func (p *preparation) demanded(k cmcd.Key) bool {
	if p.o.Mode != cmcd.EventMode {
		return false
	}
	spokenOf, _, ok := rules.Partner(p.event)
	return k == cmcd.KeyE || k == cmcd.KeyTS || ok && k == spokenOf
}

// set gives the result the value of key k, unless it is none.
func (p *preparation) set(k cmcd.Key) {
	if p.excluded(k) {
		return
	}
	switch k.Type() {
	case cmcd.BoolType:
		if p.in.Bool(k) || p.event == "b" && k == cmcd.KeyBG {
			p.out.SetBool(k, p.in.Bool(k))
		}
	case cmcd.NumberType:
		n, _ := p.in.Number(k)
		n, ok := rounded(k, n)
		switch {
		case !ok:
			p.warn(cmcd.WarnBadValue)
		case k != cmcd.KeyPR || n != 1 || p.event == "pr":
			p.out.SetNumber(k, n)
		}
	case cmcd.TextType:
		p.setText(k)
	case cmcd.TokenType:
		if token := p.token(k); token != "" {
			p.out.SetText(k, token)
		} else if p.in.Text(k) != "" {
			p.warn(cmcd.WarnUnknownToken)
		}
	case cmcd.NumberListType:
		p.setNumbers(k)
	default:
		p.setTexts(k)
	}
}

// excluded reports whether another value of the record forbids key k.
func (p *preparation) excluded(k cmcd.Key) bool {
	if other, ok := rules.NotWith(k); ok && p.known(other) {
		return true
	}
	ok, _, must := rules.ForType(k, p.version, p.o.Mode, p.objectType)
	return !ok && must
}

// known reports whether the record has a usable number for list key k, be it sent or not.
func (p *preparation) known(k cmcd.Key) bool {
	return slices.ContainsFunc(p.in.List(k), func(item cmcd.Item) bool { return usable(k, &item) })
}

func usable(k cmcd.Key, item *cmcd.Item) bool {
	_, ok := rounded(k, item.Number)
	return ok && (item.Type == "" || slices.Contains(cmcd.KeyOT.Tokens(), item.Type))
}

// rounded returns n as it is sent as a value of key k; not ok if it cannot be.
func rounded(k cmcd.Key, n float64) (r float64, ok bool) {
	switch to := float64(k.RoundTo()); {
	case k == cmcd.KeyPR && math.Abs(n) < 1e12:
		n = math.Round(n*1000) / 1000 // the digits that a decimal can have (RFC 8941 §3.3.2)
	case to > 0 && math.Abs(n) < 1e15:
		n = math.Round(n/to) * to
	default:
		return 0, false // infinite, not a number, or too large to be written
	}
	switch {
	case rules.MayBeNegative(k):
		ok = n > -1e15
	case k == cmcd.KeyRC: // 0 says that there was no response
		ok = n == 0 || n >= 100 && n <= 999
	default:
		ok = n >= 0
	}
	return n + 0, ok && n < 1e15 // 0 for -0
}

// setNumbers gives the result the list, or in version 1 the number, of key k.
func (p *preparation) setNumbers(k cmcd.Key) {
	var items []cmcd.Item
	for _, item := range p.in.List(k) {
		if !usable(k, &item) {
			p.warn(cmcd.WarnBadValue)
			continue
		}
		n, _ := rounded(k, item.Number)
		items = append(items, cmcd.Item{Number: n, Type: item.Type})
	}
	if p.version == 1 && len(items) > 0 {
		var usable cmcd.Values
		usable.SetList(k, items...)
		n, ok := usable.NumberFor(k, p.objectType)
		if !ok {
			return // what is true of other objects only
		}
		items = []cmcd.Item{{Number: n}}
	}
	p.setList(k, items)
}

func (p *preparation) setTexts(k cmcd.Key) {
	if k == cmcd.KeyNOR {
		p.setNext()
		return
	}
	var items []cmcd.Item
	for _, item := range p.in.List(k) {
		if item.Text != "" && p.writable(item.Text, 0) {
			items = append(items, cmcd.Item{Text: item.Text})
		}
	}
	p.setList(k, items)
}

func (p *preparation) setList(k cmcd.Key, items []cmcd.Item) {
	if room := maxItems - p.items; len(items) > room {
		p.warn(cmcd.WarnTooMany)
		items = items[:room]
	}
	p.items += len(items)
	if len(items) > 0 {
		p.out.SetList(k, items...)
	}
}

func (p *preparation) setText(k cmcd.Key) {
	text := p.in.Text(k)
	switch k {
	case cmcd.KeyURL:
		text = escapeURI(text)
	case cmcd.KeyNRR:
		if p.in.Has(cmcd.KeyNOR) { // it is the range of that, and was sent with it or not at all
			return
		}
		if text != "" && !rules.IsRange(text) {
			p.warn(cmcd.WarnBadValue)
			return
		}
	case cmcd.KeyCMSDD, cmcd.KeyCMSDS, cmcd.KeySMRT:
		if !rules.IsBase64(text) && !p.o.Lenient {
			p.warn(cmcd.WarnBadValue)
			return
		}
	default:
	}
	if text != "" && p.writable(text, k.MaxLength(p.version)) {
		p.out.SetText(k, text)
	}
}

// writable reports whether s can be sent as a string of at most limit characters; 0 is no limit.
func (p *preparation) writable(s string, limit int) bool {
	if !printable(s) {
		p.warn(cmcd.WarnCharacter)
		return false
	}
	if limit > 0 && len(s) > limit {
		p.warn(cmcd.WarnTooLong)
		return false
	}
	return true
}

// printable reports whether a structured field can have s as a string (RFC 8941 §3.3.3).
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// token returns the token of key k as the version has it, "" if there is none.
func (p *preparation) token(k cmcd.Key) string {
	switch token := p.in.Text(k); {
	case !slices.Contains(k.Tokens(), token):
		return ""
	case p.version == 1 && k == cmcd.KeyST && token == "ll":
		return "l" // low latency is live
	case p.version == 1 && k == cmcd.KeySF && token == "e":
		return "o" // HESP came with version 2
	default:
		return token
	}
}

// custom gives the result the custom keys, and reports whether there are any that may be sent.
func (p *preparation) custom() bool {
	var custom []cmcd.CustomValue
	sendable := false
	for _, c := range p.in.Custom {
		if p.o.CustomKeys != nil && !slices.Contains(p.o.CustomKeys, c.Key) {
			continue
		}
		if !rules.IsCustomKey(c.Key) {
			p.warn(cmcd.WarnUnknownKey)
			continue
		}
		sendable = true
		custom = slices.DeleteFunc(custom, func(earlier cmcd.CustomValue) bool { return earlier.Key == c.Key })
		if p.customValue(&c) {
			custom = append(custom, c)
		}
	}
	slices.SortFunc(custom, func(a, b cmcd.CustomValue) int { return strings.Compare(a.Key, b.Key) })
	if len(custom) > maxCustom {
		p.warn(cmcd.WarnTooMany)
		custom = custom[:maxCustom]
	}
	p.out.Custom = custom
	return sendable
}

// complete adds what the specification demands of a record with anything in it.
func (p *preparation) complete() {
	if p.version > 1 {
		p.out.SetNumber(cmcd.KeyV, 2)
	}
	if p.o.Mode != cmcd.EventMode {
		return
	}
	if !p.out.Has(cmcd.KeyTS) {
		p.out.SetNumber(cmcd.KeyTS, float64(p.o.now().UnixMilli()))
	}
	if p.event == "b" && !p.out.Has(cmcd.KeyBG) {
		p.out.SetBool(cmcd.KeyBG, false) // bg should not be sent if it is false, but the reference library refuses e=b without it
	}
}
