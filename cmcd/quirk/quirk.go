package quirk

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// Verdict is what to do with a value.
type Verdict uint8

// The verdicts.
const (
	// Accept: the value is right, only its form is wrong, and the decoder has put that right.
	Accept Verdict = iota
	// Round: the value is right once it has been rounded as the specification wants it.
	Round
	// Decode: the value is right once it has been percent-decoded, which the decoder leaves alone: it
	// cannot know that it is encoded.
	Decode
	// Ignore: the value says nothing of what the key means.
	Ignore
	// IgnoreZero: zero does not mean zero.
	IgnoreZero
	// IgnoreFirst: the session's first value is an estimate; it says nothing until it has changed.
	IgnoreFirst
	// IgnoreImplausible: some values cannot be; see [Implausible].
	IgnoreImplausible
	// IgnoreRepeats: the value is sent again with later records; it happened once.
	IgnoreRepeats
	// Corroborate: the value counts only if something else bears it out.
	Corroborate
	// OfSeek: what the value tells of belongs to a seek or to the start, not to playing.
	OfSeek
	// Absent: the player never sends the key, so that its absence says nothing.
	Absent
)

var verdictNames = [...]string{
	"accept", "round", "decode", "ignore", "ignore_zero", "ignore_first", "ignore_implausible",
	"ignore_repeats", "corroborate", "of_seek", "absent",
}

// String returns the verdict as a word, such as "ignore_first".
func (v Verdict) String() string {
	if int(v) >= len(verdictNames) {
		return fmt.Sprintf("Verdict(%d)", uint8(v))
	}
	return verdictNames[v]
}

// Distrusts reports whether the verdict takes something away from the value, be it in part.
func (v Verdict) Distrusts() bool { return v != Accept && v != Round }

// Quirk is one habit of a player: a key that does not say what the specification lets it say.
type Quirk struct {
	// Player is the player's name, one of the constants of this package.
	Player string
	// From is the first version of the player that has the habit, Before the first that does not any
	// more; "" where none is known.
	From, Before string
	// Key is the key in question.
	Key cmcd.Key
	// CMCD is the version of CMCD in which the habit shows, 0 for both.
	CMCD int
	// Modes are the modes in which it shows; none means both. Events are the events of event mode in
	// which it shows; none means all.
	Modes  []cmcd.Mode
	Events []string
	// Types are the object types (ot) with which it shows; none means all, and also no type at all.
	Types []string
	// Token is the only value of a token key that is meant, "" for all.
	Token string
	// With are keys that must be there as well; of Absent, those with which the key would be expected.
	With []cmcd.Key
	// Verdict is what to do.
	Verdict Verdict
	// Value is the estimate that IgnoreFirst speaks of, 0 for whatever comes first; or the only number
	// that Ignore speaks of, 0 for all.
	Value float64
	// Suspect is the streaming format (sf) in which a player that is not known may be this one, so
	// that the verdict holds for it as well; "" if only the player itself is meant.
	Suspect string
	// Why is the evidence, in a sentence; Source where it was found.
	Why, Source string
}

// In reports whether the record is one in which the habit can show: of the right version, mode, event
// and object type, and with the keys of With. It does not ask whether the record has the key itself.
func (q *Quirk) In(v *cmcd.Values) bool {
	mode := cmcd.RequestMode
	event := v.Text(cmcd.KeyE)
	if event != "" {
		mode = cmcd.EventMode
	}
	switch {
	case q.CMCD != 0 && q.CMCD != v.Version(),
		len(q.Modes) > 0 && !slices.Contains(q.Modes, mode),
		len(q.Events) > 0 && !slices.Contains(q.Events, event),
		len(q.Types) > 0 && !slices.Contains(q.Types, v.Text(cmcd.KeyOT)),
		slices.ContainsFunc(q.With, func(k cmcd.Key) bool { return !v.Has(k) }):
		return false
	}
	return true
}

// Shows reports whether the record shows the habit. Of Absent it reports that the key could be there
// and is not; of IgnoreFirst and IgnoreRepeats, which are of a session and not of a record, that the
// value could be such a one.
func (q *Quirk) Shows(v *cmcd.Values) bool {
	if !q.In(v) {
		return false
	}
	if q.Verdict == Absent {
		return !v.Has(q.Key)
	}
	if !v.Has(q.Key) || q.Token != "" && v.Text(q.Key) != q.Token {
		return false
	}
	switch q.Verdict {
	case Round:
		return slices.ContainsFunc(v.List(q.Key), func(i cmcd.Item) bool { return i.Number != math.Trunc(i.Number) })
	case Decode:
		decoded, err := url.PathUnescape(v.Text(q.Key))
		return err == nil && decoded != v.Text(q.Key)
	case IgnoreZero:
		n, ok := v.Number(q.Key)
		return ok && n == 0
	case IgnoreFirst:
		n, ok := v.Number(q.Key)
		return ok && (q.Value == 0 || n == q.Value)
	case Ignore:
		n, ok := v.Number(q.Key)
		return q.Value == 0 || ok && n == q.Value
	case IgnoreImplausible:
		return Implausible(q.Key, v)
	case Corroborate:
		return q.Key.Type() != cmcd.BoolType || v.Bool(q.Key)
	default:
		return true
	}
}

// Quirks are the habits of one player.
type Quirks []Quirk

// Find returns the first habit about key k that the record shows.
func (l Quirks) Find(k cmcd.Key, v *cmcd.Values) (Quirk, bool) {
	for i := range l {
		if l[i].Key == k && l[i].Shows(v) {
			return l[i], true
		}
	}
	return Quirk{}, false
}

// Ignores reports whether the record's value of key k says nothing, whatever the records before it.
func (l Quirks) Ignores(k cmcd.Key, v *cmcd.Values) bool {
	for i := range l {
		if q := &l[i]; q.Key == k && (q.Verdict == Ignore || q.Verdict == IgnoreZero || q.Verdict == IgnoreImplausible) && q.Shows(v) {
			return true
		}
	}
	return false
}

// Has returns the habit of a verdict about key k, whatever the record.
func (l Quirks) Has(k cmcd.Key, verdict Verdict) (Quirk, bool) {
	for i := range l {
		if l[i].Key == k && l[i].Verdict == verdict {
			return l[i], true
		}
	}
	return Quirk{}, false
}

// Of returns the habits of a player, by key. If its version is not known, those of all its versions.
func Of(p Player) Quirks {
	name := canonical(p.Name)
	if name == "" {
		return nil
	}
	var out Quirks
	for _, q := range table() {
		if q.Player == name && p.in(q.From, q.Before) {
			out = append(out, q)
		}
	}
	return sorted(out)
}

// Suspects returns the habits that a player may have of which no more is known than that it plays the
// streaming format (a token of the key sf): those of the players it could be. They are of use for a
// player that is [Player.Anonymous]; one that is known is none of the others.
func Suspects(format string) Quirks {
	var out Quirks
	for _, q := range table() {
		if q.Suspect != "" && q.Suspect == format {
			out = append(out, q)
		}
	}
	return sorted(out)
}

// All returns every habit that is known, by player and key.
func All() Quirks {
	all := table()
	slices.SortStableFunc(all, func(a, b Quirk) int {
		return cmp.Or(strings.Compare(a.Player, b.Player), int(a.Key)-int(b.Key))
	})
	return all
}

// sorted puts the habits in the order of their keys, which is that of the alphabet.
func sorted(l Quirks) Quirks {
	slices.SortStableFunc(l, func(a, b Quirk) int { return int(a.Key) - int(b.Key) })
	return l
}

// longest is the longest time that a response is believed to have taken, in milliseconds.
const longest = 24 * 60 * 60 * 1000

// Implausible reports whether the value of key k cannot be, whoever sent it: a response whose first
// byte came after its last, or that took longer than a day (ttfb, ttfbb, ttlb); a media start delay of
// more than ten minutes; a next object of JavaScript's word for nothing (nor).
func Implausible(k cmcd.Key, v *cmcd.Values) bool {
	if k == cmcd.KeyNOR {
		next := v.List(k)
		return len(next) == 1 && next[0].Text == "undefined"
	}
	n, ok := v.Number(k)
	if !ok {
		return false
	}
	switch k {
	case cmcd.KeyTTFB, cmcd.KeyTTFBB:
		last, known := v.Number(cmcd.KeyTTLB)
		return n > longest || known && last <= longest && n > last+1 // each is rounded for itself
	case cmcd.KeyTTLB:
		return n > longest
	case cmcd.KeyMSD:
		return n > 10*60*1000
	default:
		return false
	}
}
