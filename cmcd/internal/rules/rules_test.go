package rules

import (
	"testing"

	"github.com/weir-stream/weir/cmcd"
)

func TestPartner(t *testing.T) {
	partners := 0
	for _, event := range cmcd.KeyE.Tokens() {
		k, need, ok := Partner(event)
		if !ok {
			continue
		}
		partners++
		if need < Must || need > Implied || !k.In(2, cmcd.EventMode) {
			t.Errorf("%s has %v, %v", event, k, need)
		}
		if only, ok := OnlyWith(k); ok && only != event {
			t.Errorf("%s has %v, which goes only with %s", event, k, only)
		}
	}
	if partners != 9 {
		t.Errorf("%d events have partners", partners)
	}
	if _, _, ok := Partner("x"); ok {
		t.Error("x is no event")
	}
}

func TestForType(t *testing.T) {
	for _, test := range []struct {
		k       cmcd.Key
		version int
		mode    cmcd.Mode
		types   string // those that it may not go with
		must    bool
	}{
		{cmcd.KeyBL, 1, cmcd.RequestMode, " m i c tt k o", false},
		{cmcd.KeyBL, 2, cmcd.RequestMode, "", false},
		{cmcd.KeyBR, 1, cmcd.RequestMode, " m", false},
		{cmcd.KeyBR, 2, cmcd.RequestMode, " m", false},
		{cmcd.KeyBR, 2, cmcd.EventMode, "", false},
		{cmcd.KeyD, 1, cmcd.RequestMode, "", false},
		{cmcd.KeyD, 2, cmcd.EventMode, " m i k", true},
		{cmcd.KeyDFA, 2, cmcd.RequestMode, " m a i c tt k", false},
		{cmcd.KeyTPB, 2, cmcd.RequestMode, " m i tt k o", true},
		{cmcd.KeySID, 2, cmcd.RequestMode, "", false},
	} {
		not := ""
		for _, objectType := range append(cmcd.KeyOT.Tokens(), "", "x") {
			ok, types, must := ForType(test.k, test.version, test.mode, objectType)
			if !ok {
				not += " " + objectType
			}
			if !ok && (len(types) == 0 || must != test.must) {
				t.Errorf("%v of version %d with %s: %v, %v", test.k, test.version, objectType, types, must)
			}
		}
		if not != test.types {
			t.Errorf("%v of version %d in mode %v is not for%s, want%s", test.k, test.version, test.mode, not, test.types)
		}
	}
}

func TestIsCustomKey(t *testing.T) {
	for name, want := range map[string]bool{
		"com.example-a": true, "a-b": true, "a--": true, "a_b-c": true, "*a-b": true, "a-*": true, "": false, "-": false, "-b": false, "a-": false,
		"Com.Example-key": false, "com.example-KEY": false, "2com.example-x": false, ".a-b": false, "_a-b": false, "--b": false, "a b-c": false, "a": false,
	} {
		if IsCustomKey(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
		if cmcd.IsCustomKey(name) && !want {
			t.Errorf("%q is a custom key in package cmcd only", name)
		}
	}
}

func TestIsRange(t *testing.T) {
	for s, want := range map[string]bool{
		"0-99": true, "100-": true, "-99": true, "5-5": true, "-": false, "": false, "5": false, "9-3": false, "0-1,3-4": false, "bytes=0-1": false, "+1-2": false,
		"0-99999999999999999999": false,
	} {
		if IsRange(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func TestIsBase64(t *testing.T) {
	for s, want := range map[string]bool{
		"QQ==": true, "QUE=": true, "QUFB": true, "=": false, "QQ": false, "QQ======": false, "Q": false, "a-_b": false, "QQ\n==": false,
	} {
		if IsBase64(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
