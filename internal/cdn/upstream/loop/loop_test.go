package loop

import (
	"net/http"
	"strings"
	"testing"
)

func TestWhoHasSeenTheRequest(t *testing.T) {
	for _, test := range []struct {
		field, value string
		has, before  bool
	}{
		{Field, "", false, false},
		{Field, "edge-1", true, true},
		{Field, "EDGE-1", true, true},
		{Field, "foo, edge-1;v=2 ,bar", true, true},
		{Field, "foo;name=edge-1", false, false},
		{Field, "edge-11, xedge-1, edge-1.example, edge-1:80", false, false},
		{Field, `foo;x="`, false, false},
		{Field, `foo;x=", edge-1`, true, true}, // a quote that is left open hides nobody
		{"Via", "1.1 edge-1", true, false},     // the last one may be what this node has just added
		{"Via", "1.1 edge-1, 1.1 edge-1", true, true},
		{"Via", "1.1 edge-1, 2 other (comment, edge-1)", true, true},
		{"Via", "HTTP/1.1  edge-1\t(weir)", true, false},
		{"Via", "1.1 other (edge-1)", false, false},
		{"Via", "edge-1", false, false},
	} {
		h := http.Header{test.field: {test.value}}
		if got := Has(h, "edge-1"); got != test.has {
			t.Errorf("Has %s: %s = %v, want %v", test.field, test.value, got, test.has)
		}
		if got := HasBefore(h, "edge-1"); got != test.before {
			t.Errorf("HasBefore %s: %s = %v, want %v", test.field, test.value, got, test.before)
		}
	}
}

func TestAdd(t *testing.T) {
	h := http.Header{Field: append(make([]string, 0, 4), "foo"), "Via": {"1.1 other"}}
	shared := h[Field]
	Add(h, "edge-1", "1.1 edge-1")
	if got := strings.Join(h[Field], ", "); got != "foo, edge-1" {
		t.Errorf("CDN-Loop: %s", got)
	}
	if shared = shared[:2]; shared[1] != "" {
		t.Error("the values that others hold were written to")
	}
	Add(h, "edge-1", "1.1 edge-1") // twice, as an edge and its pool may
	if got := strings.Join(h["Via"], ", "); got != "1.1 other, 1.1 edge-1" {
		t.Errorf("Via: %s", got)
	}
}

// Whatever a client sends before it, a node finds itself again, also after proxies have joined the lines.
func FuzzNothingHidesANode(f *testing.F) {
	for _, s := range []string{"", "foo", `foo;x="`, "a (", ",,;", "edge-1"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, cdnLoop, via string) {
		h := http.Header{Field: {cdnLoop}, "Via": {via}}
		Add(h, "edge-1", "1.1 edge-1")
		joined := http.Header{Field: {strings.Join(h[Field], ",")}}
		if !Has(h, "edge-1") || !Has(joined, "edge-1") {
			t.Errorf("%q: the node is not found", h[Field])
		}
		joined = http.Header{"Via": {strings.Join(h["Via"], ", ")}}
		if !Has(joined, "edge-1") {
			t.Errorf("%q: the node is not found", h["Via"])
		}
		HasBefore(h, "edge-1")
	})
}
