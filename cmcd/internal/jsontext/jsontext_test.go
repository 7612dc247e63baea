package jsontext

import (
	"encoding/json"
	"strings"
	"testing"
)

// Of valid JSON it says what encoding/json says.
func FuzzAgreesWithEncodingJSON(f *testing.F) {
	for _, s := range []string{`"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83dx"`, `{"a":[1,"]}",{}]} `, `-1e9,`, `[]`, `"\udead\u0000"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = Skip(s)
		if !json.Valid([]byte(s)) {
			return
		}
		end := End(s)
		if rest := strings.Trim(s[end:], " \t\r\n"); rest != "" {
			t.Errorf("%q: the value ends before %q", s, rest)
		}
		var text string
		if s[0] == '"' && json.Unmarshal([]byte(s), &text) == nil {
			// Broken UTF-8 stays as it is here.
			if got := strings.ToValidUTF8(string(Append(nil, s[1:end-1])), "\ufffd"); !strings.Contains(text, "\ufffd") && got != text {
				t.Errorf("%q is %q, want %q", s, got, text)
			}
		}
	})
}
