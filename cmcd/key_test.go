package cmcd

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

// The table of keys says what the specification says.
func TestKeysAreThoseOfTheSpecification(t *testing.T) {
	type use struct {
		Header *string
		Type   string
		Modes  []string
	}
	var rows []struct {
		Key     string
		V1, V2  *use
		RoundTo int                  `json:"round_to"`
		Length  struct{ V1, V2 int } `json:"max_length"`
		Tokens  []string             `json:"tokens_v2"`
		Event   string               `json:"only_on_event"`
	}
	readJSON(t, "testdata/keys.json", &rows)
	all := slices.Collect(AllKeys())
	if len(rows) != len(all) {
		t.Errorf("%d keys, want %d", len(all), len(rows))
	}
	types := map[string][]Type{
		"Boolean": {BoolType}, "Integer": {NumberType, NumberListType}, "Decimal": {NumberType}, "Token": {TokenType},
		"String": {TextType, TextListType}, "Inner list of strings": {TextListType}, "Inner list of integer": {NumberListType},
	}
	for i, row := range rows {
		k, ok := LookupKey(row.Key)
		if !ok || k.String() != row.Key || k != all[i] {
			t.Errorf("key %q is %v", row.Key, k)
			continue
		}
		for version, u := range map[int]*use{1: row.V1, 2: row.V2} {
			if u == nil {
				if k.In(version, RequestMode) || k.In(version, EventMode) || k.Header(version) != NoHeader {
					t.Errorf("%v is in version %d", k, version)
				}
				continue
			}
			header := ""
			if u.Header != nil {
				header = *u.Header
			}
			if got := k.Header(version).String(); got != header {
				t.Errorf("%v is in header %q of version %d, want %q", k, got, version, header)
			}
			if version == 2 {
				for _, m := range []Mode{RequestMode, EventMode} {
					want := slices.ContainsFunc(u.Modes, func(s string) bool { return strings.EqualFold(s, m.String()) })
					if k.In(2, m) != want {
						t.Errorf("%v in %v mode: %v, want %v", k, m, k.In(2, m), want)
					}
				}
			}
			longest := ""
			for name := range types {
				if strings.HasPrefix(u.Type, name) && len(name) > len(longest) {
					longest = name
				}
			}
			if !slices.Contains(types[longest], k.Type()) {
				t.Errorf("%v is of type %d, the specification says %q", k, k.Type(), u.Type)
			}
		}
		if row.RoundTo != 0 && k.RoundTo() != row.RoundTo || row.RoundTo == 0 && k.RoundTo() > 1 {
			t.Errorf("%v is rounded to %d, want %d", k, k.RoundTo(), row.RoundTo)
		}
		if k.MaxLength(2) != row.Length.V2 || row.Length.V1 != 0 && k.MaxLength(1) != row.Length.V1 {
			t.Errorf("%v may have %d and %d characters, want %v", k, k.MaxLength(1), k.MaxLength(2), row.Length)
		}
		if !slices.Equal(k.Tokens(), row.Tokens) {
			t.Errorf("%v has tokens %v, want %v", k, k.Tokens(), row.Tokens)
		}
		// The URL may be sent with other events too, but means nothing there.
		if want := row.Event == "rr" || row.Key == "url"; k.ResponseOnly() != want {
			t.Errorf("%v only with a response: %v, want %v", k, k.ResponseOnly(), want)
		}
	}
}

func TestLookupKeyRefuses(t *testing.T) {
	for _, name := range []string{"", "x", "BR", "bsdaa", "ttfbbb", "\x00", "\x00br", "br\x00", "com.example-x"} {
		if k, ok := LookupKey(name); ok {
			t.Errorf("%q is %v", name, k)
		}
	}
}

func TestRegisteredCustomKeys(t *testing.T) {
	var registry struct {
		Keys []struct{ KeyName, HeaderName, NamespaceDescription, Description string }
	}
	readJSON(t, "testdata/custom_keys_registry.json", &registry)
	if len(registry.Keys) != len(customKeys) {
		t.Errorf("%d keys, want %d", len(customKeys), len(registry.Keys))
	}
	for _, want := range registry.Keys {
		c, ok := LookupCustomKey(want.KeyName)
		if !ok || c.Name != want.KeyName || c.Header.String() != want.HeaderName ||
			c.Description != want.NamespaceDescription+" "+strings.ReplaceAll(want.Description, "-", " ") {
			t.Errorf("%s is %+v", want.KeyName, c)
		}
		if !IsCustomKey(want.KeyName) {
			t.Errorf("%s is no custom key", want.KeyName)
		}
	}
	for _, name := range []string{"org.svta-", "org.svta-x-y", "com.example-n", "br", ""} {
		if c, ok := LookupCustomKey(name); ok {
			t.Errorf("%s is %+v", name, c)
		}
	}
}
