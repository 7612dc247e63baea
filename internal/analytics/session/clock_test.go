package session

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// told adds a report that tells the time at+ahead, and that was received at the time.
func (r *records) told(at, ahead float64, record string) {
	r.t.Helper()
	r.report(at, fmt.Sprintf(`%s,sid="s",sn=%d,ts=%d,v=2`, record, len(r.reports), after(at+ahead).UnixMilli()))
}

func near(t *testing.T, what string, got *float64, want float64) {
	t.Helper()
	if got == nil || math.Abs(*got-want) > 1e-3 {
		t.Errorf("%s = %v, want %v", what, deref(got), want)
	}
}

// One report with a time that cannot be does not move those that can.
func TestOneWildTimeMovesNoOther(t *testing.T) {
	const hour = 3600.0
	for _, wild := range []string{"9999999999999", "253402300799999", "999999999999999", "5000", "1", "0"} {
		for _, place := range []int{0, 3, 6} {
			t.Run(fmt.Sprintf("ts=%s at %d", wild, place), func(t *testing.T) {
				r := &records{t: t}
				for i := range 7 {
					if i == place {
						r.report(float64(i), `e=t,sid="s",sn=99,ts=`+wild+`,v=2`)
						continue
					}
					r.told(float64(i), hour, "e=t")
				}
				s := r.join()
				near(t, "clock offset", s.ClockOffset, -hour)
				_, events := newJoin(nil, r.reports).details()
				for i, e := range events {
					if e.Time.Sub(after(float64(i))).Abs() > 10*time.Millisecond {
						t.Errorf("report %d stands at %v, want %v", i, e.Time, after(float64(i)))
					}
				}
			})
		}
	}
}

// A player may have set its clock only after its first report.
func TestReportBeforeTheClockWasSetIsNoBeginning(t *testing.T) {
	r := &records{t: t}
	r.report(9, `e=ps,sid="s",sn=0,sta=d,ts=5000,v=2`)
	r.told(9, -8, `e=ps,sta=p`)
	s := r.join()
	near(t, "clock offset", s.ClockOffset, 8)
	if s.StartupTime != nil {
		t.Errorf("startup = %v, want unknown: nobody knows when the first report was made", *s.StartupTime)
	}
	// With another report that tells when it was made, the beginning is known.
	r.told(9, -9.5, `e=ps,sta=s`)
	near(t, "startup", r.join().StartupTime, 1.5)
	// And with a request, that is the beginning.
	r = &records{t: t}
	r.request(1, 1.1, "index.m3u8", `ot=m,sf=h,sid="s",v=2`)
	r.report(9, `e=ps,sid="s",sn=0,sta=d,ts=5000,v=2`)
	r.told(9, 0, `e=t`)
	r.told(9.1, -6.1, `e=ps,sta=p`)
	near(t, "startup", r.join().StartupTime, 2)
}

// Reports that came late, in batches, are begun with by their own time.
func TestBeginningIsWhenTheFirstReportWasMade(t *testing.T) {
	r := &records{t: t}
	r.told(5, -5, `e=ps,sta=s`)
	r.told(6, 0, `e=ps,sta=p`)
	near(t, "startup", r.join().StartupTime, 6)
}

// Without a time in any report the receipt is all there is.
func TestReportsWithoutATime(t *testing.T) {
	r := &records{t: t}
	r.report(1, `e=ps,sid="s",sta=s,v=2`)
	r.report(3, `e=ps,sid="s",sta=p,v=2`)
	s := r.join()
	near(t, "startup", s.StartupTime, 2)
	if s.ClockOffset != nil {
		t.Errorf("clock offset = %v, want unknown", *s.ClockOffset)
	}
}

// A clock that is wrong throughout is corrected; one that no clock can show is not taken for one.
func TestClocksThatAreWrongThroughout(t *testing.T) {
	r := &records{t: t}
	for i := range 3 {
		r.report(float64(i), fmt.Sprintf(`e=t,sid="s",sn=%d,ts=%d,v=2`, i, 5000+1000*i))
	}
	near(t, "clock offset of a clock that begins with 1970", r.join().ClockOffset, float64(base.UnixMilli()-5000)/1e3)
	r = &records{t: t}
	r.report(1, `e=ps,sid="s",sn=0,sta=s,ts=9999999999999,v=2`)
	r.report(3, `e=ps,sid="s",sn=1,sta=p,ts=9999999999999,v=2`)
	s := r.join()
	if s.ClockOffset != nil {
		t.Errorf("clock offset = %v, want unknown", *s.ClockOffset)
	}
	near(t, "startup", s.StartupTime, 2)
}

// The collector has seen reports that are not here any more, and may have been told a wild time as well.
func TestClockOffsetOfTheCollector(t *testing.T) {
	for kept, want := range map[time.Duration]float64{-3601 * time.Second: -3601, -8204814931 * time.Second: -3600, -30 * time.Hour: -3600} {
		r := &records{t: t}
		r.told(1, 3600, "e=t")
		r.told(2, 3600, "e=t")
		r.reports[1].ClockOffset = &kept
		near(t, fmt.Sprintf("clock offset with %v of the collector", kept), r.join().ClockOffset, want)
	}
}

// A wild time of a response makes no pair, and moves no other.
func TestWildTimeOfAResponse(t *testing.T) {
	r := &records{t: t}
	for i := range 4 {
		r.request(float64(i), float64(i)+0.1, fmt.Sprintf("v%d.m4s", i), `ot=v,sid="s",v=2`)
		r.report(float64(i)+0.2, fmt.Sprintf(`e=rr,rc=200,sid="s",sn=%d,ts=%d,ttlb=100,url="/live/test/v%d.m4s",v=2`, i, after(float64(i)+3600).UnixMilli(), i))
	}
	for _, wild := range []string{"9999999999999", "5000"} {
		r.report(9, `e=rr,rc=200,sid="s",sn=9,ts=`+wild+`,url="/live/test/v3.m4s",v=2`)
		exchanges, _ := newJoin(r.requests, r.reports).details()
		for i, e := range exchanges {
			if e.Response == nil || e.Response.Time.Sub(e.Time).Abs() > 200*time.Millisecond {
				t.Errorf("ts=%s: request %d has the response %+v", wild, i, e.Response)
			}
		}
		r.reports = r.reports[:4]
	}
}
