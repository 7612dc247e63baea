package cmsd

import (
	"reflect"
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

func customValue(key, value string, bare bool) cmcd.CustomValue {
	return cmcd.CustomValue{Key: key, Value: value, Bare: bare}
}

// written returns what of other is written: no lists that need spaces.
func written(other []cmcd.CustomValue) []cmcd.CustomValue {
	var kept []cmcd.CustomValue
	for _, c := range other {
		if !c.Bare || withoutSpaces(c.Value) == c.Value {
			kept = append(kept, c)
		}
	}
	return kept
}

func FuzzStatic(f *testing.F) {
	f.Add(`ot=v,sf=h,st=v,d=5000,br=2000,n="OriginProviderA",nor="..%2Fa%20b.m4s",nrr="0-",at=1764269150889,ht=12,su,v=2,com.x-y=(1 "a");b`)
	f.Add(`n="\"\\",nor="%zz%25",v=1,su=?0,a-b=;c,a-b="x";y,d=1.0,ot="v"`)
	f.Add(`,=;()?"\`)
	f.Fuzz(func(t *testing.T, header string) {
		s, _ := ParseStatic(header)
		if s.Version != nil && *s.Version < 2 {
			s.Version = nil
		}
		s.Other = written(s.Other)
		wire := s.String()
		again, err := ParseStatic(wire)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%q is written as %q, which is read as %q: %v", header, wire, again.String(), err)
		}
	})
}

func FuzzDynamic(f *testing.F) {
	f.Add(`"CDNB-3ak1";etp=96;rtt=8,"CDNB-w35k";etp=76;rtt=32`, `"CDNA-312.663";etp=115;rtt=16;mb=5000`)
	f.Add(`token ; du; rd=0;com.x-y=:YWJj:`, `"\"";du=?0;a="b";a=1.50, (1);x`)
	f.Fuzz(func(t *testing.T, first, second string) {
		d, _ := ParseDynamic(first, second)
		if len(d) == maxHops {
			return // there is no room for another one
		}
		wire := d.String()
		again, err := ParseDynamic(wire)
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Errorf("%q and %q are written as %q, which is read as %q: %v", first, second, wire, again, err)
		}
		own := Hop{Name: "edge", RTT: new(int64(8))}
		appended, err := ParseDynamic(Append([]string{first, second}, own))
		if err != nil || !reflect.DeepEqual(appended, append(d, own)) {
			t.Errorf("%q and %q with another hop become %q: %v", first, second, appended, err)
		}
	})
}

// Whatever a server puts into the fields, it writes what can be read without a word.
func FuzzWrite(f *testing.F) {
	f.Add("weir", "../a b", "v", "com.x-y", "1;a", int64(5), true)
	f.Add("é\x00", "%", "v v", "br", "\"", int64(-1), false)
	f.Fuzz(func(t *testing.T, name, next, token, key, value string, n int64, bare bool) {
		s := Static{Name: name, Next: next, ObjectType: token, Bitrate: &n, Startup: bare}
		s.Other = append(s.Other, customValue(key, value, bare))
		if _, err := ParseStatic(s.String()); err != nil {
			t.Errorf("static %q: %v", s.String(), err)
		}
		h := Hop{Name: name, RTT: &n, Other: s.Other}
		if d, err := ParseDynamic(h.String()); err != nil || len(d) != 1 {
			t.Errorf("hop %q: %v", h.String(), err)
		}
	})
}
