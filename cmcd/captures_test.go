package cmcd

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// capture is one request, or one POST to a collector, as a player or an encoder has put it on the
// wire, and what it says. The latter was not read by this package: by a strict parser of structured
// fields where that accepts the record ("strict"); by the same after the known faults of that player
// were undone, by one who knew what it had been told to say ("repaired"); from the members of the
// JSON ("json").
type capture struct {
	Player      string              `json:"player"`
	Run         string              `json:"run"`
	Method      string              `json:"method"`
	Path        string              `json:"path"`
	Query       string              `json:"query"`
	Headers     map[string]string   `json:"headers"`
	ContentType string              `json:"content_type"`
	Body        string              `json:"body"`
	Oracle      string              `json:"oracle"`
	Want        []map[string]string `json:"want"`
	// Unsure are the keys whose values nobody can tell for certain, as nothing in them is escaped or as
	// they came under another name.
	Unsure []string `json:"unsure"`
}

// Players whose records this package was not written to: every record is read, with every key and
// every value that it has.
func TestCaptures(t *testing.T) {
	players := make(map[string]int)
	for c := range captures(t) {
		got := c.decode(t)
		if len(got) != len(c.Want) {
			t.Errorf("%s: %d records, want %d", c.Run, len(got), len(c.Want))
			continue
		}
		for i, want := range c.Want {
			players[c.Player]++
			compareCapture(t, c, want, said(&got[i]))
		}
	}
	for _, player := range slices.Sorted(maps.Keys(players)) {
		t.Logf("%s: %d records", player, players[player])
	}
	if len(players) < 30 {
		t.Errorf("only %d players", len(players))
	}
}

func compareCapture(t *testing.T, c *capture, want, got map[string]string) {
	t.Helper()
	for key, value := range want {
		if got[key] != value && !slices.Contains(c.Unsure, key) {
			t.Errorf("%s, %s: %s = %s, want %s\nquery %s\nheaders %v\nbody %s", c.Run, c.Oracle, key, got[key], value, c.Query, c.Headers, c.Body)
		}
	}
	for key, value := range got {
		if _, ok := want[key]; !ok && !slices.Contains(c.Unsure, key) {
			t.Errorf("%s, %s: %s = %s, which was not sent\nquery %s\nheaders %v\nbody %s", c.Run, c.Oracle, key, value, c.Query, c.Headers, c.Body)
		}
	}
}

func (c *capture) decode(t *testing.T) []Values {
	t.Helper()
	var all []Values
	take := func(v Values, err error) {
		if err != nil {
			t.Errorf("%s: record %d of %q: %v", c.Run, len(all), c.Body, err)
		}
		all = append(all, v)
	}
	switch {
	case c.Oracle == "json":
		for v, err := range ParseJSON([]byte(c.Body)) {
			take(v, err)
		}
	case c.Body != "":
		for v, err := range ParseBody([]byte(c.Body)) {
			take(v, err)
		}
	default:
		h := make(http.Header)
		for name, value := range c.Headers {
			h.Set(name, value)
		}
		v, ok := FromRequest(c.Query, h)
		if !ok && !c.allUnsure() {
			t.Errorf("%s: nothing in %q %v", c.Run, c.Query, c.Headers)
		}
		all = append(all, v)
	}
	return all
}

// allUnsure reports whether nothing in the capture can be told for certain.
func (c *capture) allUnsure() bool {
	for _, want := range c.Want {
		for key := range want {
			if !slices.Contains(c.Unsure, key) {
				return false
			}
		}
	}
	return true
}

// said is v in the form of the captures: a list and a single value are the same.
func said(v *Values) map[string]string {
	m := make(map[string]string)
	for k := range v.Keys() {
		switch k.Type() {
		case BoolType:
			m[k.String()] = strconv.FormatBool(v.Bool(k))
		case NumberType:
			n, _ := v.Number(k)
			m[k.String()] = strconv.FormatFloat(n, 'f', -1, 64)
		case TextType:
			m[k.String()] = strconv.Quote(v.Text(k))
		case TokenType:
			m[k.String()] = v.Text(k)
		default:
			m[k.String()] = saidList(v, k)
		}
	}
	for _, c := range v.Custom {
		switch {
		case !c.Bare:
			m[c.Key] = strconv.Quote(c.Value)
		case c.Value == "" || c.Value == "?1":
			m[c.Key] = "true"
		case c.Value == "?0":
			m[c.Key] = "false"
		default:
			m[c.Key] = c.Value
		}
	}
	return m
}

func saidList(v *Values, k Key) string {
	var items []string
	for _, item := range v.List(k) {
		text := strconv.FormatFloat(item.Number, 'f', -1, 64)
		if k.Type() == TextListType {
			text = strconv.Quote(item.Text)
		}
		if item.Type != "" {
			text += ";" + item.Type
		}
		if item.Range != "" {
			text += ";r=" + strconv.Quote(item.Range)
		}
		items = append(items, text)
	}
	return strings.Join(items, " ")
}

func captures(t testing.TB) func(yield func(*capture) bool) {
	t.Helper()
	file, err := os.Open("testdata/captures/captures.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []*capture
	lines := bufio.NewScanner(unpacked)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		c := &capture{}
		if err := json.Unmarshal(lines.Bytes(), c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return slices.Values(all)
}
