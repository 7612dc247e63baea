package freshness

import (
	"strings"
	"time"
)

// ParseDate reads an HTTP-date in any of its three formats (RFC 9110 §5.6.7), its letters in either case.
// Otherwise it is strict: what is no date must not make an answer fresh (RFC 9111 §4.2, §5.3). The day of
// the week is not compared with the date. A year of two digits is near now.
func ParseDate(s string, now time.Time) (time.Time, bool) {
	switch comma := strings.IndexByte(s, ','); {
	case comma == 3: // Sun, 06 Nov 1994 08:49:37 GMT
		if len(s) != 29 || !oneOf(s[:3], shortDays) || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' {
			return time.Time{}, false
		}
		if s[4] != ' ' || !zulu(s[25:]) {
			return time.Time{}, false
		}
		year, ok := digits(s[12:16])
		return date(year, s[8:11], s[5:7], s[17:25], ok)
	case comma > 3: // Sunday, 06-Nov-94 08:49:37 GMT
		rest := s[comma+1:]
		if len(rest) != 23 || !oneOf(s[:comma], longDays) || rest[0] != ' ' || rest[3] != '-' || rest[7] != '-' || rest[10] != ' ' {
			return time.Time{}, false
		}
		if !zulu(rest[19:]) {
			return time.Time{}, false
		}
		year, ok := digits(rest[8:10])
		// More than 50 years ahead is the most recent year in the past with these digits.
		latest := now.UTC().AddDate(50, 0, 0)
		year += latest.Year() / 100 * 100
		t, valid := date(year, rest[4:7], rest[1:3], rest[11:19], ok)
		if valid && t.After(latest) {
			return date(year-100, rest[4:7], rest[1:3], rest[11:19], ok)
		}
		return t, valid
	case comma < 0: // Sun Nov  6 08:49:37 1994
		if len(s) != 24 || !oneOf(s[:3], shortDays) || s[3] != ' ' || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' {
			return time.Time{}, false
		}
		day := s[8:10]
		if day[0] == ' ' {
			day = day[1:]
		}
		year, ok := digits(s[20:])
		return date(year, s[4:7], day, s[11:19], ok)
	}
	return time.Time{}, false
}

const (
	shortDays = "sun mon tue wed thu fri sat "
	longDays  = "sunday monday tuesday wednesday thursday friday saturday "
	months    = "jan feb mar apr may jun jul aug sep oct nov dec "
)

// oneOf reports whether word is in list, whose words end with a space.
func oneOf(word, list string) bool {
	for list != "" {
		var w string
		w, list, _ = strings.Cut(list, " ")
		if equalFold(w, word) {
			return true
		}
	}
	return false
}

// equalFold compares letters of ASCII; s and t have no others.
func equalFold(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != lower(t[i]) {
			return false
		}
	}
	return true
}

func zulu(s string) bool { return equalFold(s, " GMT") }

// date makes a time of its parts; false if one of them is none.
func date(year int, month, day, clock string, ok bool) (time.Time, bool) {
	m := 0
	for i := 0; i < len(months); i += 4 {
		if equalFold(months[i:i+3], month) {
			m = i/4 + 1
		}
	}
	d, dayOK := digits(day)
	if !ok || m == 0 || !dayOK || d < 1 || clock[2] != ':' || clock[5] != ':' {
		return time.Time{}, false
	}
	hour, hourOK := digits(clock[:2])
	minute, minuteOK := digits(clock[3:5])
	second, secondOK := digits(clock[6:])
	if !hourOK || !minuteOK || !secondOK || hour > 23 || minute > 59 || second > 60 { // 60: a leap second
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(m), d, hour, minute, second, 0, time.UTC)
	return t, time.Date(year, time.Month(m), d, 0, 0, 0, 0, time.UTC).Day() == d
}

func digits(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, s != ""
}
