package telemetry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/internal/telemetry"
)

func TestDelivered(t *testing.T) {
	notRendered, err := cmcd.Parse("nr,ot=v")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		request telemetry.Request
		want    bool
	}{
		"whole":               {telemetry.Request{Status: 200}, true},
		"a range":             {telemetry.Request{Status: 206}, true},
		"the viewer had it":   {telemetry.Request{Status: 304}, true},
		"not there":           {telemetry.Request{Status: 404}, false},
		"never answered":      {telemetry.Request{}, false},
		"the viewer left":     {telemetry.Request{Status: 200, Aborted: true}, false},
		"fetched, not played": {telemetry.Request{Status: 200, CMCD: notRendered, HasCMCD: true}, false},
	} {
		if got := test.request.Delivered(); got != test.want {
			t.Errorf("%s: delivered = %v", name, got)
		}
	}
}

func TestClip(t *testing.T) {
	for n, want := range map[int]int{0: 0, telemetry.MaxText: telemetry.MaxText, telemetry.MaxText + 1: telemetry.MaxText, 1 << 20: telemetry.MaxText} {
		if got := telemetry.Clip(strings.Repeat("x", n)); len(got) != want {
			t.Errorf("%d bytes become %d, want %d", n, len(got), want)
		}
	}
}

func TestLooked(t *testing.T) {
	for status, want := range map[string][2]bool{
		"hit": {true, true}, "stale": {true, true}, "collapsed": {true, true},
		"miss": {true, false}, "bypass": {true, false}, "": {false, false},
	} {
		if looked, hit := (&telemetry.Request{CacheStatus: status}).Looked(); looked != want[0] || hit != want[1] {
			t.Errorf("%q: looked %v, hit %v", status, looked, hit)
		}
	}
}

func TestStateChange(t *testing.T) {
	for record, want := range map[string]string{
		`e=ps,sta=r,sid="s",ts=1,v=2`: "r",
		`e=t,sta=r,sid="s",ts=1,v=2`:  "", // the state at that moment, not a change to it
		`e=ps,sid="s",ts=1,v=2`:       "",
	} {
		v, err := cmcd.Parse(record)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&telemetry.Report{CMCD: v}).StateChange(); got != want {
			t.Errorf("%s: %q, want %q", record, got, want)
		}
	}
}

func TestPermanent(t *testing.T) {
	cause := errors.New("no such column")
	err := fmt.Errorf("append: %w", telemetry.Permanent(cause))
	if !telemetry.IsPermanent(err) || !errors.Is(err, cause) || telemetry.IsPermanent(cause) || telemetry.IsPermanent(nil) {
		t.Errorf("%v is not told from what may be tried again", err)
	}
}
