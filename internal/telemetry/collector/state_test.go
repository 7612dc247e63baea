package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir/internal/telemetry"
)

func TestARecordThatIsSentAgainIsLeftOut(t *testing.T) {
	const record = `bl=(1200),e=rr,sid="s",sn=7,ts=1764269150889,url="/a.m4s",v=2`
	for name, test := range map[string]struct {
		again     string
		target    string
		duplicate bool
	}{
		"as it was":                              {again: record, duplicate: true},
		"with more in it":                        {again: `bl=(1200),br=(900),e=rr,sid="s",sn=7,ts=1764269150889,v=2`, duplicate: true},
		"another session":                        {again: `e=rr,sid="t",sn=7,ts=1764269150889,v=2`},
		"another number":                         {again: `e=rr,sid="s",sn=8,ts=1764269150889,v=2`},
		"another event":                          {again: `e=t,sid="s",sn=7,ts=1764269150889,v=2`},
		"another time":                           {again: `e=rr,sid="s",sn=7,ts=1764269150890,v=2`},
		"another target":                         {again: record, target: "/cmcd/other"},
		"session and number run into each other": {again: `e=rr,sid="s7",sn=0,ts=1764269150889,v=2`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.expect(204, 1, record)
			if test.target == "" {
				test.target = "/cmcd/tenant"
			}
			r.clock = r.clock.Add(time.Hour)
			resp, got := r.send(r, test.target, "", test.again, nil)
			if resp.StatusCode != 204 || len(got) == 1 == test.duplicate {
				t.Errorf("status %d, %d taken", resp.StatusCode, len(got))
			}
			if n := testutil.ToFloat64(r.metrics.duplicates); (n == 1) != test.duplicate {
				t.Errorf("%v counted as duplicates", n)
			}
			if (r.reports[0].ID == r.reports[len(r.reports)-1].ID) != test.duplicate {
				t.Error("the ID is the same of what is not, or not of what is")
			}
		})
	}
}

func TestRecordsWithoutANumberAreKnownByTheirText(t *testing.T) {
	r := newRig(t, nil)
	r.expect(204, 1, `e=t,pt=1,sid="s",ts=5,v=2`)
	r.expect(204, 0, `e=t,pt=1,sid="s",ts=5,v=2`)
	r.expect(204, 1, `e=t,pt=2,sid="s",ts=5,v=2`)
	r.expect(204, 1, `e=t,sn=1,ts=5,v=2`) // of nobody: only the text and the sender tell
	r.expect(204, 0, `e=t,sn=1,ts=5,v=2`)
	r.expect(204, 1, `e=t,pr=2,sn=1,ts=5,v=2`)
	// Without a time, what is the same may well be meant twice.
	r.expect(204, 2, `e=t,sid="s",sn=1,v=2`, `e=t,sid="s",sn=1,v=2`)
	r.expect(204, 2, `br=900,sid="s"`, `br=900,sid="s"`)
	if resp, got := r.post("application/json", `[{"sid":"s","br":900},{"sid":"s","br":900}]`); resp.StatusCode != 204 || len(got) != 2 {
		t.Errorf("version 1: status %d, %d taken, want both", resp.StatusCode, len(got))
	}
}

func TestDuplicatesInOneBody(t *testing.T) {
	r := newRig(t, nil)
	var records []string
	for i := range 90 {
		records = append(records, fmt.Sprintf(`e=t,sid="s",sn=%d,ts=5,v=2`, i%30))
	}
	r.expect(204, 30, records...)
	r.expect(204, 0, records...)
	if n := testutil.ToFloat64(r.metrics.duplicates); n != 150 {
		t.Errorf("%v duplicates, want 150", n)
	}
}

// The ID is what tells other edges, and a process that was started again, that they have the record.
func TestAResendHasTheSameIDEverywhere(t *testing.T) {
	r := newRig(t, nil)
	records := []string{`e=t,sid="s",sn=1,ts=1764269150889,v=2`, `e=t,sid="s",ts=1764269150889,v=2`, `e=t,ts=1764269150889,v=2`, `e=t,sid="s",sn=2,ts=999999999999999,v=2`}
	r.expect(204, len(records), records...)
	other := r.restart()
	other.clock = r.clock.Add(7 * time.Minute)
	other.expect(204, len(records), records...)
	for i := range records {
		id := r.reports[i].ID
		if id != other.reports[i].ID {
			t.Errorf("%s: IDs %v and %v", records[i], id, other.reports[i].ID)
		}
		if id.Version() != 8 || id.Variant() != uuid.RFC4122 {
			t.Errorf("%s: %v is not of version 8", records[i], id)
		}
	}
	// It is led by the player's clock, as those of version 7 are by that of the server.
	if got, want := r.reports[0].ID.String()[:13], "019ac6a2-d2a9"; got != want {
		t.Errorf("ID begins with %s, want %s", got, want)
	}
	r.expect(204, 1, `sid="s"`)
	if id := r.reports[len(r.reports)-1].ID; id.Version() != 7 {
		t.Errorf("a record that nothing tells from another has the ID %v, want one of version 7", id)
	}
}

func TestWhatTheBusHasNoRoomForMaySentAgain(t *testing.T) {
	for reason, err := range map[outcome]error{
		busFull:   fmt.Errorf("sink store: %w", telemetry.ErrFull),
		busFailed: errors.New("the bus has stopped"),
	} {
		t.Run(string(reason), func(t *testing.T) {
			r := newRig(t, nil)
			first, second := `e=t,sid="s",sn=0,ts=1,v=2`, `e=t,sid="s",sn=1,ts=2,v=2`
			r.refuse = err
			r.expect(204, 0, first, second)
			r.dropped(map[outcome]int{reason: 2})
			if n := r.Lost(); n != 2 {
				t.Errorf("%d lost, want 2", n)
			}
			r.refuse = nil
			r.expect(204, 2, first, second)
			r.expect(204, 0, first, second)
			if n := testutil.ToFloat64(r.metrics.records.WithLabelValues("cmcd")); n != 2 {
				t.Errorf("%v counted as taken, want 2", n)
			}
			if n := testutil.ToFloat64(r.metrics.missing); n != 0 {
				t.Errorf("%v counted as missing, want none", n)
			}
		})
	}
}

// A body is handed to the bus as one, and before it is answered; a player that has hung up is heard.
func TestABodyIsAcceptedAsAWhole(t *testing.T) {
	r := newRig(t, nil)
	var calls []int
	r.accept = func(ctx context.Context, reports []telemetry.Report) error {
		calls = append(calls, len(reports))
		if _, ok := ctx.Deadline(); ctx.Err() != nil || !ok {
			t.Errorf("the bus is called with %v", ctx)
		}
		return nil
	}
	r.expect(204, 0, `e=t,sid="s",sn=0,ts=1,v=2`, "hello", `e=t,sid="s",sn=1,ts=1,v=2`)
	r.expect(204, 0, `e=t,sid="s",sn=0,ts=1,v=2`)
	r.expect(204, 0, `hello`)
	if len(calls) != 1 || calls[0] != 2 {
		t.Errorf("the bus was called with %v reports, want once with 2", calls)
	}
}

func TestTheMemoryOfRecordsIsBounded(t *testing.T) {
	for last := range 300 {
		g := generations[int, string]{limit: 100}
		for i := range last + 1 {
			g.put(i, "x")
		}
		if _, ok := g.get(max(0, last-99)); !ok {
			t.Errorf("of %d, the one that was put 100 ago is forgotten", last+1)
		}
	}
	g := generations[int, string]{limit: 100}
	for i := range 1000 {
		g.put(i, "x")
		if _, ok := g.get(0); !ok && i < 900 {
			t.Fatalf("what is asked for all the time is forgotten after %d others", i)
		}
		if n := len(g.young) + len(g.old); n > 200 {
			t.Fatalf("%d are remembered, want at most 200", n)
		}
	}
}

func TestClockOffset(t *testing.T) {
	r := newRig(t, nil)
	at := func(player time.Duration) int64 { return r.clock.Add(player).UnixMilli() }
	for _, step := range []struct {
		record string
		want   time.Duration
		known  bool
	}{
		{record: `e=t,sid="s",v=2`}, // has not said what time it is
		{record: fmt.Sprintf(`e=rr,sid="s",sn=0,ts=%d,v=2`, at(-time.Minute))},
		{record: fmt.Sprintf(`e=t,sid="s",sn=1,ts=%d,v=2`, at(-3*time.Second)), want: 3 * time.Second, known: true},
		{record: fmt.Sprintf(`e=t,sid="s",sn=2,ts=%d,v=2`, at(-5*time.Second)), want: 3 * time.Second, known: true},
		{record: fmt.Sprintf(`e=rr,sid="s",sn=3,ts=%d,v=2`, at(0)), want: 3 * time.Second, known: true},
		{record: fmt.Sprintf(`e=ps,sid="s",sn=4,ts=%d,v=2`, at(2*time.Second)), want: -2 * time.Second, known: true},
		{record: `e=t,sid="s",v=2`, want: -2 * time.Second, known: true},
		{record: `e=t,sid="s",ts=-1,v=2`, want: -2 * time.Second, known: true},
		{record: fmt.Sprintf(`e=t,sid="other",sn=4,ts=%d,v=2`, at(-time.Hour)), want: time.Hour, known: true},
		{record: fmt.Sprintf(`e=t,sn=5,ts=%d,v=2`, at(-time.Hour))}, // of nobody
	} {
		r.expect(204, 1, step.record)
		got := r.reports[len(r.reports)-1].ClockOffset
		if (got != nil) != step.known || got != nil && *got != step.want {
			t.Errorf("%s: offset %v, want %v (known: %v)", step.record, got, step.want, step.known)
		}
	}
}

func TestGapsInTheSequence(t *testing.T) {
	for name, test := range map[string]struct {
		numbers       []int
		missing, late int
	}{
		"in order":                     {numbers: []int{0, 1, 2, 3}},
		"one lost":                     {numbers: []int{0, 1, 3, 4}, missing: 1},
		"one overtaken":                {numbers: []int{0, 2, 1, 3}, missing: 1, late: 1},
		"a batch overtaken":            {numbers: []int{0, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, missing: 10, late: 10},
		"many lost":                    {numbers: []int{0, 1000}, missing: 999},
		"late beyond what is known":    {numbers: []int{0, 1000, 1}, missing: 999},
		"at the end of what is known":  {numbers: []int{0, 1000, 744}, missing: 999, late: 1},
		"begun in the middle":          {numbers: []int{500, 501, 503}, missing: 1},
		"before what was seen first":   {numbers: []int{500, 499, 498, 501}},
		"no number that could be told": {numbers: []int{0, 1 << 40, 1<<40 + 2}, missing: 1},
		"begun anew":                   {numbers: []int{0, 1, 2, 0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			for i, n := range test.numbers { // at other times, so none is a duplicate
				r.expect(204, 1, fmt.Sprintf(`e=t,sid="s",sn=%d,ts=%d,v=2`, n, i))
			}
			if m, l := testutil.ToFloat64(r.metrics.missing), testutil.ToFloat64(r.metrics.late); int(m) != test.missing || int(l) != test.late {
				t.Errorf("missing %v, late %v, want %d and %d", m, l, test.missing, test.late)
			}
		})
	}
}

func TestEachTargetAndSessionHasItsOwnSequence(t *testing.T) {
	r := newRig(t, nil)
	for sn := range 5 {
		for target := range 2 * maxTargets {
			for session := range 3 {
				r.send(r, fmt.Sprint("/cmcd/", target), "", fmt.Sprintf(`e=t,sid="%d",sn=%d,ts=1,v=2`, session, sn+100*target), nil)
			}
		}
		r.expect(204, 3, `e=t,sn=1,v=2`, `e=t,sn=50,v=2`, `e=t,sid="x",sn=7.5,v=2`)
	}
	if m := testutil.ToFloat64(r.metrics.missing); m != 0 {
		t.Errorf("%v counted as missing, want none", m)
	}
}

// However bodies overtake each other, what was lost is what is missing and did not come late.
func TestLossIsMissingLessLate(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		q, seen := sequence{}, map[uint64]bool{0: true}
		var order []uint64
		for n := uint64(1); n < 600; n++ {
			if random.IntN(10) > 0 || n == 599 {
				order = append(order, n)
			}
		}
		held := map[uint64]uint64{} // nobody is overtaken by more than the window
		for _, n := range order {
			held[n] = n + random.Uint64N(window-1)
		}
		slices.SortStableFunc(order, func(a, b uint64) int { return cmp.Compare(held[a], held[b]) })
		var missing, late uint64
		for _, n := range order {
			m, l := q.add(n)
			missing += m
			if l {
				late++
			}
			seen[n] = true
		}
		if lost := 600 - len(seen); int(missing-late) != lost {
			t.Fatalf("missing %d less late %d is %d, but %d were lost", missing, late, missing-late, lost)
		}
	}
}

func TestASessionThatPostsTooMuchIsSilenced(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSessionRecords = 100 })
	record := func(sid string, n int) string { return fmt.Sprintf(`e=t,sid="%s",sn=%d,ts=1,v=2`, sid, n) }
	for n := range 100 {
		r.expect(204, 1, record("loud", n))
	}
	r.expect(204, 1, record("quiet", 0))
	r.expect(410, 0, record("loud", 100))
	r.expect(410, 0, record("loud", 101), "hello")            // bad records are nobody's
	r.expect(204, 1, record("loud", 102), record("quiet", 1)) // others in the same body are heard
	r.expect(204, 1, record("loud", 103), `e=t,v=2`)          // so are those without a name
	r.expect(204, 0, record("loud", 104), record("quiet", 1)) // a duplicate is somebody's too
	r.dropped(map[outcome]int{silenced: 5, noKeys: 1})
	if n := testutil.ToFloat64(r.metrics.silences.WithLabelValues(byFlood)); n != 1 {
		t.Errorf("%v sessions silenced, want 1", n)
	}
	if n := r.state.silencedSessions(r.clock); n != 1 {
		t.Errorf("%d sessions are silenced, want 1", n)
	}
	r.clock = r.clock.Add(r.config.SilenceTime - time.Second)
	r.expect(410, 0, record("loud", 105))
	r.clock = r.clock.Add(time.Second)
	r.expect(204, 1, record("loud", 106))
	if n := r.state.silencedSessions(r.clock); n != 0 {
		t.Errorf("%d sessions are silenced, want none", n)
	}
}

// dash.js 5.2 sends everything again that was refused, and would for ever.
func TestASilencedSessionThatDoesNotListen(t *testing.T) {
	r := newRig(t, nil)
	r.Silence("s", time.Hour)
	for n := range 20 {
		status := 410
		if n >= maxRefusals {
			status = 204
		}
		r.expect(status, 0, fmt.Sprintf(`e=t,sid="s",sn=%d,ts=1,v=2`, n))
		r.expect(204, 1, fmt.Sprintf(`e=t,sid="s",sn=%d,ts=1,v=2`, n), fmt.Sprintf(`e=t,sid="t",sn=%d,ts=1,v=2`, n))
	}
	r.dropped(map[outcome]int{silenced: 40})
	r.Silence("s", time.Hour)
	r.expect(410, 0, `e=t,sid="s",sn=99,ts=1,v=2`)
}

func TestTheCountBeginsAnewWithEachMinute(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSessionRecords = 10 })
	for range 20 {
		for range 10 {
			r.expect(204, 1, `e=t,sid="s",v=2`)
		}
		r.clock = r.clock.Add(time.Minute)
	}
	open := newRig(t, func(c *Config) { c.MaxSessionRecords = 0 })
	for range 50 {
		open.expect(204, 1, `e=t,sid="s",v=2`)
	}
}

func TestASessionIsSilencedByHand(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSessionRecords = 1 })
	if until := r.Silence("s", time.Hour); !until.Equal(now.Add(time.Hour)) {
		t.Errorf("silenced until %v, want an hour", until)
	}
	r.expect(410, 0, `e=t,sid="s",v=2`)
	r.expect(204, 1, `e=t,sid="t",v=2`)
	if !r.Unsilence("s") || r.Unsilence("s") {
		t.Error("it is not told whether the session was silenced")
	}
	r.expect(204, 1, `e=t,sid="s",v=2`)
	r.expect(410, 0, `e=t,sid="s",v=2`) // it may post no more than one
	if !r.Unsilence("s") {
		t.Error("a session that was silenced for its flood is not let go")
	}
	r.expect(204, 1, `e=t,sid="s",v=2`)
	if until := r.Silence("s", 0); !until.Equal(now.Add(r.config.SilenceTime)) {
		t.Errorf("silenced until %v, want the time of the configuration", until)
	}
}

func TestSilencesAreBounded(t *testing.T) {
	s := silences{}
	for i := range maxSilenced {
		s.put(sessionKey(i), now.Add(time.Duration(1+i)*time.Second), now)
	}
	s.put(maxSilenced, now.Add(time.Hour), now)
	if s.has(0, now) || !s.has(1, now) || !s.has(maxSilenced, now) || len(s) != maxSilenced {
		t.Errorf("%d silenced; want that gone whose time is up first", len(s))
	}
	later := now.Add(5000 * time.Second)
	s.put(maxSilenced+1, later.Add(time.Hour), later)
	if len(s) > maxSilenced/2+10 {
		t.Errorf("%d silenced after the time of half of them", len(s))
	}
}

func TestASampleKeepsWholeSessions(t *testing.T) {
	keep := func(sample, load float64, session string) bool {
		r := newRig(t, func(c *Config) { c.Sample, c.ShedLoad = sample, 0.5 })
		r.load = load
		status, n := r.records(fmt.Sprintf(`e=t,sid="%s",v=2`, session), fmt.Sprintf(`e=ps,sid="%s",v=2`, session))
		if status != 204 || n == 1 {
			t.Fatalf("status %d, %d of 2 records taken", status, n)
		}
		return n == 2
	}
	const sessions = 200
	counts := map[[2]float64]int{}
	for i := range sessions {
		id := fmt.Sprint("session-", i)
		kept := true
		for _, step := range [][2]float64{{1, 0}, {1, 0.5}, {1, 0.7}, {1, 0.9}, {0.5, 0.9}, {0.5, 1}} {
			now := keep(step[0], step[1], id)
			if now && !kept {
				t.Errorf("%s is kept with %v, and was not before", id, step)
			}
			kept = now
			if now {
				counts[step]++
			}
		}
	}
	for step, want := range map[[2]float64]float64{{1, 0}: 1, {1, 0.5}: 1, {1, 0.7}: 0.6, {1, 0.9}: 0.2, {0.5, 0.9}: 0.1, {0.5, 1}: 0} {
		if got := float64(counts[step]) / sessions; math.Abs(got-want) > 0.1 {
			t.Errorf("sample %v at load %v keeps %v of the sessions, want %v", step[0], step[1], got, want)
		}
	}
}

func TestWhatIsNotKeptIsCounted(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Sample = 0 })
	r.expect(204, 0, `e=t,sid="s",v=2`, `e=t,v=2`, "hello")
	r.dropped(map[outcome]int{sampled: 2, noKeys: 1})
	if r.Lost() != 0 {
		t.Error("a sample that somebody wants counts as lost")
	}
	r = newRig(t, nil)
	r.load = 1
	r.expect(204, 0, `e=t,sid="s",sn=1,ts=1,v=2`, `e=t,v=2`)
	r.dropped(map[outcome]int{shed: 2})
	if r.Lost() != 2 {
		t.Errorf("%d lost, want 2", r.Lost())
	}
	r.load = 0
	r.clock = r.clock.Add(recovery)
	r.expect(204, 1, `e=t,sid="s",sn=1,ts=1,v=2`)
}

// The place of a session is part of what edges agree on: it must never change.
func TestPlacesAreTheSameEverywhere(t *testing.T) {
	for session, want := range map[string]float64{
		"6e2fb550-c457-11e9-bb97-0800200c9a66": 0.6790, "": 0.8894, "192.0.2.7": 0.2182,
	} {
		if got := place(session); math.Abs(got-want) > 0.0001 {
			t.Errorf("%q is at %.4f, want %.4f", session, got, want)
		}
	}
}

func TestSheddingFollowsTheLoad(t *testing.T) {
	s := shedding{threshold: 0.5}
	at := now
	step := func(load float64, after time.Duration, want float64) {
		t.Helper()
		at = at.Add(after)
		if got := s.kept(load, at); math.Abs(got-want) > 0.001 {
			t.Errorf("load %v: keeps %v, want %v", load, got, want)
		}
	}
	step(0, 0, 1)
	step(0.5, time.Second, 1)
	step(0.75, time.Second, 0.5) // up at once
	step(0, recovery/4, 0.75)    // and down slowly
	step(0.9, time.Second, 0.2)
	step(0.8, recovery/10, 0.3)
	step(1, 0, 0)
	step(0, recovery/2, 0.5)
	step(0, -time.Hour, 0.5) // a clock that was set back
	step(0, recovery, 1)
	never := shedding{threshold: 1}
	if got := never.kept(1, now); got != 1 {
		t.Errorf("a threshold of 1 keeps %v, want all", got)
	}
	always := shedding{}
	if got := always.kept(0.25, now); got != 0.75 {
		t.Errorf("a threshold of 0 keeps %v at a load of a quarter", got)
	}
}

// What the collector itself leaves out has not been lost on the way.
func TestWhatIsLeftOutHereIsNotMissing(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ShedLoad = 0.5 })
	record := func(n int) string { return fmt.Sprintf(`e=t,sid="s",sn=%d,ts=%d,v=2`, n, n+1) }
	r.expect(204, 1, record(0))
	r.load = 1
	for n := 1; n < 50; n++ {
		r.expect(204, 0, record(n))
	}
	r.load, r.clock = 0, r.clock.Add(time.Hour)
	r.expect(204, 1, record(50))
	r.Silence("s", time.Minute)
	r.expect(410, 0, record(51))
	r.clock = r.clock.Add(time.Hour)
	r.refuse = telemetry.ErrFull
	r.expect(204, 0, record(52))
	r.refuse = nil
	r.expect(204, 1, record(53))
	r.expect(204, 1, record(55)) // 54 is the one that never came
	if n := testutil.ToFloat64(r.metrics.missing); n != 1 {
		t.Errorf("%v records are missing, want 1", n)
	}
}

// One time that is no clock's does not tell the clock of all that come after it.
func TestAWildTimeIsNotTheClock(t *testing.T) {
	r := newRig(t, nil)
	at := func(n int, ts time.Time) string { return fmt.Sprintf(`e=t,sid="s",sn=%d,ts=%d,v=2`, n, ts.UnixMilli()) }
	offset := func() string {
		last := r.reports[len(r.reports)-1].ClockOffset
		if last == nil {
			return "none"
		}
		return last.String()
	}
	hour := now.Add(-time.Hour)
	for _, step := range []struct{ record, want string }{
		{at(0, time.UnixMilli(5000)), now.Sub(time.UnixMilli(5000)).String()}, // the device has just been switched on
		{at(1, hour), "none"},   // whom to believe?
		{at(2, hour), "1h0m0s"}, // two agree
		{at(3, time.UnixMilli(253402300000000)), "none"},
		{at(4, hour.Add(time.Second)), "59m59s"},
		{at(5, hour), "59m59s"},
	} {
		r.expect(204, 1, step.record)
		if got := offset(); got != step.want {
			t.Errorf("after %s the clock is off by %s, want %s", step.record, got, step.want)
		}
	}
}

func TestSilenceIsToldOnEachPath(t *testing.T) {
	r := newRig(t, nil)
	r.Silence("s", time.Hour)
	for _, path := range []string{"/cmcd/a", "/cmcd/b"} {
		for n := range maxRefusals + 2 {
			want := 410
			if n >= maxRefusals {
				want = 204
			}
			if resp, _ := r.send(r, path, "", fmt.Sprintf(`e=t,sid="s",sn=%d,ts=1,v=2`, n), nil); resp.StatusCode != want {
				t.Errorf("%s, %d: status %d, want %d", path, n, resp.StatusCode, want)
			}
		}
	}
}
