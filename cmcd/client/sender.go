package client

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/rules"
)

// Limits of what a Sender remembers, and of what of that goes with one request, whose URL or headers must not get
// too long for the servers on the way.
const (
	maxTargets   = 64
	maxWaiting   = 64
	maxCode      = 64
	maxInRequest = 8
)

// A Sender is what one playback session remembers from report to report. It owns the keys that depend
// on what was sent before, and does not heed what the Values of a report say of them:
//
//   - sid is that of the Sender.
//   - sn counts the reports of each mode to each target, from 0.
//   - msd is sent once in each mode ([Sender.Started]).
//   - bs is sent to a target if the buffer was empty at some time since the report before
//     ([Sender.Starved], [Sender.Recovered]), and bsd once in each mode to each target.
//   - ec waits for the next report to each target, and is sent to it once ([Sender.Failed]).
//
// What a target is not sent, because of its version or its filter of keys, goes on waiting for it. So does
// what is too much for one request: that has 8 durations and 8 codes at most, the oldest first. A report counts as sent when it has been made: if it does not arrive, send the same bytes again.
//
// A target is what receives reports, such as a host of media or the URL of a collector; not each
// object. Of more than 64 the one that was left alone longest is forgotten. A new session, with a new
// ID, is a new Sender. Its methods may be called by several goroutines at once.
type Sender struct {
	sid string

	mu       sync.Mutex
	targets  map[destination]*progress
	reports  int
	started  bool
	delay    float64     // msd
	told     [2]bool     // msd, by mode
	starving objectTypes // whose buffers are empty now
	starved  objectTypes // whose buffers have been empty
	stalls   backlog     // bsd
	failures backlog     // ec
	lost     int
}

type destination struct {
	mode   cmcd.Mode
	target string
}

// progress is what a target has been told.
type progress struct {
	last     int // its last report, counted over all targets
	sn       int // of the next report
	starved  objectTypes
	stalls   int
	failures int
}

// NewSender returns the Sender of a session. The ID of the session is of 1 to 64 characters of ASCII,
// best a UUID.
func NewSender(sid string) (*Sender, error) {
	if limit := cmcd.KeySID.MaxLength(2); sid == "" || len(sid) > limit || !printable(sid) {
		return nil, fmt.Errorf("cmcd/client: session ID %q is not of 1 to %d printable ASCII characters", sid, limit)
	}
	return &Sender{sid: sid, targets: map[destination]*progress{}}, nil
}

// Started says that media has begun to play, delay after the player was told to. Only the first call
// counts.
func (s *Sender) Started(delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		s.started, s.delay = true, milliseconds(delay)
	}
}

// Starved says that playback has stopped because there was nothing left to play of an object type
// ("v", "a", …; "" if it is not known which). Starting and seeking are no starvation (Table 1, sta).
func (s *Sender) Starved(objectType string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := only(objectType)
	s.starving |= t
	s.starved |= t
	for _, p := range s.targets {
		p.starved |= t
	}
}

// Recovered says that a starvation is over, after the given time.
func (s *Sender) Recovered(objectType string, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := only(objectType)
	s.starving &^= t
	if t == only("") {
		objectType = ""
	}
	s.stalls.add(cmcd.Item{Number: milliseconds(after), Type: objectType})
}

func milliseconds(d time.Duration) float64 { return float64(max(d, 0)) / float64(time.Millisecond) }

// Failed says that the player has had an error. What is not printable ASCII in its code is sent as a
// question mark, and of a code of more than 64 characters the first 64. The event e can be sent only after it; if another report has taken the code to the
// target before, the event has it once more.
func (s *Sender) Failed(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code == "" {
		code = "?"
	}
	printed := make([]byte, 0, min(len(code), maxCode))
	for _, r := range code {
		if len(printed) == maxCode {
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		printed = append(printed, byte(r))
	}
	s.failures.add(cmcd.Item{Text: string(printed)})
}

// Lost returns how many durations and codes no longer waited when a target could have been told of
// them: 64 of each are kept.
func (s *Sender) Lost() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Prepare returns what [Sender.Query] and [Sender.Headers] send in request mode, and [Sender.Record] in event
// mode, which o.Mode chooses. It is for those who want to look at it first: its Warnings tell what was
// dropped (see [Prepare]). It counts as sent as theirs does.
func (s *Sender) Prepare(target string, v *cmcd.Values, o Options) (cmcd.Values, error) {
	return s.report(target, v, o)
}

// Query returns what to add to the query of a request to target, "CMCD=…" (see [AddToURL]), or "" if
// there is nothing to say.
func (s *Sender) Query(target string, v *cmcd.Values, o Options) string {
	o.Mode = cmcd.RequestMode
	r, _ := s.report(target, v, o)
	return r.Query()
}

// Headers returns the headers for a request to target. A request has either them or the query
// argument, never both (§3).
func (s *Sender) Headers(target string, v *cmcd.Values, o Options) http.Header {
	o.Mode = cmcd.RequestMode
	r, _ := s.report(target, v, o)
	return r.Headers(o.CustomHeaders)
}

// Record returns the report of an event for target: one record of a [Body]. It is an error if v has
// no event, or not the key that must go with it; then nothing counts as sent.
func (s *Sender) Record(target string, v *cmcd.Values, o Options) (string, error) {
	o.Mode = cmcd.EventMode
	r, err := s.report(target, v, o)
	return r.String(), err
}

// Body returns the body of a report with these records (§3.3).
func Body(records ...string) []byte { return []byte(strings.Join(records, "\n")) }

// ContentType is the media type of a [Body].
const ContentType = "application/cmcd"

// report makes a report, and remembers that target has it.
func (s *Sender) report(target string, v *cmcd.Values, o Options) (cmcd.Values, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.progress(destination{o.Mode, target})
	draft := without(v, cmcd.KeySID, cmcd.KeySN, cmcd.KeyMSD, cmcd.KeyBS, cmcd.KeyBSD, cmcd.KeyEC)
	about := including(draft.Text(cmcd.KeyOT))
	draft.SetText(cmcd.KeySID, s.sid)
	draft.SetNumber(cmcd.KeySN, float64(p.sn))
	if s.started && !s.told[o.Mode] {
		draft.SetNumber(cmcd.KeyMSD, s.delay)
	}
	if p.starved&about != 0 {
		draft.SetBool(cmcd.KeyBS, true)
	}
	most := maxWaiting
	if o.Mode == cmcd.RequestMode {
		most = maxInRequest
	}
	stalls, lostStalls := s.stalls.since(p.stalls, most)
	if len(stalls) > 0 {
		draft.SetList(cmcd.KeyBSD, stalls...)
	}
	failures, lostFailures := s.failures.since(p.failures, most)
	if len(failures) == 0 && draft.Text(cmcd.KeyE) == "e" {
		failures = s.failures.newest() // another report was quicker, but the event must have a code
	}
	if len(failures) > 0 {
		draft.SetList(cmcd.KeyEC, failures...)
	}

	r := Prepare(&draft, o)
	if o.Mode == cmcd.EventMode {
		if err := incomplete(&r); err != nil {
			return cmcd.Values{}, err
		}
	}
	if r.Has(cmcd.KeySN) {
		p.sn++
	}
	if r.Has(cmcd.KeyMSD) {
		s.told[o.Mode] = true
	}
	if r.Has(cmcd.KeyBS) {
		p.starved &^= about &^ s.starving // what goes on is also after this report
	}
	if r.Has(cmcd.KeyBSD) {
		p.stalls += lostStalls + len(stalls)
		s.lost += lostStalls
	}
	if r.Has(cmcd.KeyEC) {
		p.failures = min(p.failures+lostFailures+len(failures), s.failures.end()) // a code that is said again does not count
		s.lost += lostFailures
	}
	s.reports++
	p.last = s.reports
	return r, nil
}

// incomplete returns why r is no report of an event, nil if it is one.
func incomplete(r *cmcd.Values) error {
	event := r.Text(cmcd.KeyE)
	if event == "" {
		return fmt.Errorf("cmcd/client: report has no event, or an unknown one; key e must be one of %v", cmcd.KeyE.Tokens())
	}
	if k, _, ok := rules.Partner(event); ok && !r.Has(k) {
		return fmt.Errorf("cmcd/client: report of event %q has no value of key %v that can be sent; this event must have one", event, k)
	}
	return nil
}

// progress returns what target d has been told, which to a new one is nothing: its first report speaks
// of what has happened since the session began.
func (s *Sender) progress(d destination) *progress {
	p := s.targets[d]
	if p == nil {
		if len(s.targets) == maxTargets {
			s.forget()
		}
		p = &progress{starved: s.starved}
		s.targets[d] = p
	}
	return p
}

// forget drops the target that was left alone longest.
func (s *Sender) forget() {
	var oldest destination
	last := s.reports + 1
	for d, p := range s.targets {
		if p.last < last {
			oldest, last = d, p.last
		}
	}
	delete(s.targets, oldest)
}

// without returns v without some keys.
func without(v *cmcd.Values, keys ...cmcd.Key) cmcd.Values {
	w := cmcd.Values{Custom: v.Custom}
	for k := range v.Keys() {
		if slices.Contains(keys, k) {
			continue
		}
		switch k.Type() {
		case cmcd.BoolType:
			w.SetBool(k, v.Bool(k))
		case cmcd.NumberType:
			n, _ := v.Number(k)
			w.SetNumber(k, n)
		case cmcd.TextType, cmcd.TokenType:
			w.SetText(k, v.Text(k))
		default:
			w.SetList(k, v.List(k)...)
		}
	}
	return w
}

// objectTypes is a set of object types, and of the type that nobody knows.
type objectTypes uint16

const unknownType objectTypes = 1

// only returns the set of one type.
func only(objectType string) objectTypes {
	i := slices.Index(cmcd.KeyOT.Tokens(), objectType)
	return unknownType << (i + 1)
}

// including returns the types that bs speaks of beside an object type (Table 1, bs): that type or one
// that nobody knows; without a type, all.
func including(objectType string) objectTypes {
	if t := only(objectType); t != unknownType {
		return t | unknownType
	}
	return ^objectTypes(0)
}

// backlog is what happened in a session, in order. Of what does not fit, the oldest is gone.
type backlog struct {
	gone  int
	items []cmcd.Item
}

func (b *backlog) add(item cmcd.Item) {
	if len(b.items) == maxWaiting {
		b.items = slices.Delete(b.items, 0, 1)
		b.gone++
	}
	b.items = append(b.items, item)
}

// since returns the items from number n on, at most so many, and how many before them are gone.
func (b *backlog) since(n, most int) (items []cmcd.Item, gone int) {
	gone = max(b.gone-n, 0)
	items = b.items[n+gone-b.gone:]
	return items[:min(len(items), most)], gone
}

// newest returns the item that came last, if there is any.
func (b *backlog) newest() []cmcd.Item { return b.items[max(len(b.items)-1, 0):] }

func (b *backlog) end() int { return b.gone + len(b.items) }
