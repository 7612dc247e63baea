package freshness

import (
	"net/http"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) { // RFC 9110 §5.6.7
	for _, tt := range []struct {
		date string
		want time.Time // zero: it is no date
	}{
		{"Sun, 06 Nov 1994 08:49:37 GMT", time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)},
		{"Sunday, 06-Nov-94 08:49:37 GMT", time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)},
		{"Sun Nov  6 08:49:37 1994", time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)},
		{"Sun Nov 16 08:49:37 1994", time.Date(1994, 11, 16, 8, 49, 37, 0, time.UTC)},
		{"Tue, 19 Jan 2038 14:14:08 GMT", time.Date(2038, 1, 19, 14, 14, 8, 0, time.UTC)},
		{"Thu Aug  8 02:01:18 2050", time.Date(2050, 8, 8, 2, 1, 18, 0, time.UTC)}, // a Monday, as it happens
		{"THU, 18 aUG 2050 02:01:18 gMT", time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC)},
		{"THURSDAY, 18-AUG-50 02:01:18 gmt", time.Date(2050, 8, 18, 2, 1, 18, 0, time.UTC)},
		{"Sat, 31 Dec 2016 23:59:60 GMT", time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"Thu, 29 Feb 2024 00:00:00 GMT", time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)},
		// Two digits: at most 50 years ahead of noon on 1 March 2026.
		{"Sunday, 01-Mar-76 12:00:00 GMT", time.Date(2076, 3, 1, 12, 0, 0, 0, time.UTC)},
		{"Monday, 01-Mar-76 12:00:01 GMT", time.Date(1976, 3, 1, 12, 0, 1, 0, time.UTC)},
		{"Friday, 01-Jan-77 00:00:00 GMT", time.Date(1977, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"Thursday, 01-Jan-26 00:00:00 GMT", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},

		{date: ""},
		{date: "0"},
		{date: "-1"},
		{date: "Thu, 18 Aug 2050 02:01:18 UTC"},
		{date: "Thu, 18 Aug 2050 02:01:18 AEST"},
		{date: "Thu, 18 Aug 2050 02:01:18 +0000"},
		{date: "Thu, 18 Aug 2050 02:01:18"},
		{date: "Thu, 18 Aug 50 02:01:18 GMT"},
		{date: "Thu 18 Aug 2050 02:01:18 GMT"},
		{date: "Thu, 18  Aug  2050 02:01:18 GMT"},
		{date: "Thu, 18-Aug-2050 02:01:18 GMT"},
		{date: "Thu, 18 Aug 2050 02.01.18 GMT"},
		{date: "Thu, 18 Aug 2050 2:01:18 GMT"},
		{date: "Thu, 18 Aug 2050  2:01:18 GMT"},
		{date: "Thu, 8 Aug 2050 02:01:18 GMT"},
		{date: "Thu, 18 Aug 2050 24:01:18 GMT"},
		{date: "Thu, 18 Aug 2050 02:60:18 GMT"},
		{date: "Thu, 18 Aug 2050 02:01:61 GMT"},
		{date: "Thu, 31 Jun 2050 02:01:18 GMT"},
		{date: "Sat, 29 Feb 2025 00:00:00 GMT"},
		{date: "Thu, 00 Aug 2050 02:01:18 GMT"},
		{date: "Thx, 18 Aug 2050 02:01:18 GMT"},
		{date: "Thu, 18 Agu 2050 02:01:18 GMT"},
		{date: "Thurſday, 18-Aug-50 02:01:18 GMT"},
		{date: "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT"},
		{date: "Thu, 18-Aug-50 02:01:18 GMT"},
		{date: "Thursday, 18 Aug 2050 02:01:18 GMT"},
		{date: "Thu Aug 8 02:01:18 2050"},
		{date: "Thu Aug 08 02:01:18 50"},
	} {
		got, ok := ParseDate(tt.date, noon)
		if ok != !tt.want.IsZero() || ok && !got.Equal(tt.want) {
			t.Errorf("ParseDate(%q) = %v, %v; want %v", tt.date, got, ok, tt.want)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sat, 31 Dec 2016 23:59:60 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseDate(s, noon)
		if !ok {
			// Whatever is written as RFC 9110 prefers it is a date.
			if date, err := time.Parse(http.TimeFormat, s); err == nil && date.Format(http.TimeFormat) == s {
				t.Errorf("ParseDate(%q) does not take it", s)
			}
			return
		}
		again, ok := ParseDate(got.Format(http.TimeFormat), noon)
		if !ok || !again.Equal(got) {
			t.Errorf("ParseDate(%q) = %v, which is read as %v, %v", s, got, again, ok)
		}
	})
}
