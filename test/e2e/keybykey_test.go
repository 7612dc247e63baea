package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

// record is what a record of CMCD says: its keys with their values in a form that is the same for a
// single value and for a list of one.
type record map[string]string

func (r record) is(sid string) bool { return r["sid"] == strconv.Quote(sid) }

// String has the keys in order, so equal records read alike.
func (r record) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(r)) {
		fmt.Fprintf(&b, "%s=%s ", key, r[key])
	}
	return b.String()
}

// strict reads a record with a parser of structured fields that is not ours and forgives nothing.
func strict(text string) (record, error) {
	dictionary, err := httpsfv.UnmarshalDictionary([]string{text})
	if err != nil {
		return nil, err
	}
	r := make(record)
	for _, key := range dictionary.Names() {
		member, _ := dictionary.Get(key)
		r[key] = canonical(member)
	}
	return r, nil
}

func canonical(member httpsfv.Member) string {
	var items []string
	switch m := member.(type) {
	case httpsfv.InnerList:
		for _, item := range m.Items {
			items = append(items, canonicalItem(item))
		}
	case httpsfv.Item:
		items = append(items, canonicalItem(m))
	}
	return strings.Join(items, " ")
}

func canonicalItem(item httpsfv.Item) string {
	text := canonicalValue(item.Value)
	for _, name := range item.Params.Names() {
		text += ";" + name
		if value, _ := item.Params.Get(name); value != true {
			text += "=" + canonicalValue(value)
		}
	}
	return text
}

func canonicalValue(value any) string {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		return strconv.Quote(v)
	default:
		return fmt.Sprint(v)
	}
}

// stored reads what the API says of a row: each key has its value as on the wire, a boolean the word.
func stored(cmcd map[string]string) (record, error) {
	r := make(record)
	for key, value := range cmcd {
		one, err := strict("k=" + value)
		if err != nil {
			return nil, fmt.Errorf("%s=%s is stored: %w", key, value, err)
		}
		r[key] = one["k"]
	}
	return r, nil
}

// compareKeyByKey holds every row of the session against what the browser put on the wire: each
// record is there once, with each of its keys, and nothing else is.
func compareKeyByKey(t *testing.T, p *program, sid string, w *wire) *spoken {
	t.Helper()
	var said *spoken
	var faults []string
	for deadline := time.Now().Add(10 * time.Second); ; pause(t, 200*time.Millisecond) {
		var err error
		if said, err = w.said(sid); err != nil {
			t.Fatal(err)
		}
		var d sessionDetails
		if err := p.get("/api/v1/sessions/"+sid, &d); err != nil {
			faults = []string{err.Error()} // nothing is there yet
		} else if faults, err = compareRows(&d, said); err != nil {
			t.Fatal(err)
		}
		if len(faults) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for i, fault := range faults {
		if i == 20 {
			t.Errorf("… and %d more", len(faults)-i)
			break
		}
		t.Error(fault)
	}
	t.Logf("%d requests and %d reports in %d POSTs were compared key by key", said.count(), len(said.reports), len(said.posts))
	return said
}

func compareRows(d *sessionDetails, said *spoken) ([]string, error) {
	if d.Truncated {
		return nil, fmt.Errorf("session %s has more records than the API shows", d.Session.ID)
	}
	rows := make(map[string][]record)
	for _, e := range d.Exchanges {
		row, err := stored(e.CMCD)
		if err != nil {
			return nil, err
		}
		rows[e.Path] = append(rows[e.Path], row)
	}
	var reports []record
	for _, e := range d.Reports {
		row, err := stored(e.CMCD)
		if err != nil {
			return nil, err
		}
		reports = append(reports, row)
	}
	var faults []string
	paths := slices.Concat(slices.Collect(maps.Keys(said.requests)), slices.Collect(maps.Keys(rows)))
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		faults = append(faults, difference(path, said.records(path), rows[path])...)
	}
	return append(faults, difference("reports", said.reports, reports)...), nil
}

// difference pairs what was sent with what is stored and tells what is left over, by key where a
// record of each side is left that are nearly the same.
func difference(where string, sent, stored []record) []string {
	rest := slices.Clone(stored)
	var missing []record
	for _, s := range sent {
		if i := slices.IndexFunc(rest, func(r record) bool { return maps.Equal(r, s) }); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			missing = append(missing, s)
		}
	}
	var faults []string
	for _, s := range missing {
		nearest, fewest := -1, len(s)
		for i, r := range rest {
			if n := len(unlike(s, r)); n < fewest {
				nearest, fewest = i, n
			}
		}
		if nearest < 0 {
			faults = append(faults, fmt.Sprintf("%s: not stored: %v", where, s))
			continue
		}
		for _, key := range unlike(s, rest[nearest]) {
			faults = append(faults, fmt.Sprintf("%s: %s was sent as %q and is stored as %q, in %v", where, key, s[key], rest[nearest][key], s))
		}
		rest = slices.Delete(rest, nearest, nearest+1)
	}
	for _, r := range rest {
		faults = append(faults, fmt.Sprintf("%s: stored but not sent, or stored twice: %v", where, r))
	}
	return faults
}

// unlike are the keys that the two do not have, or not with the same value.
func unlike(a, b record) []string {
	var keys []string
	for key, value := range a {
		if other, ok := b[key]; !ok || other != value {
			keys = append(keys, key)
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
