package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/weir-stream/weir/internal/console/rest"
)

// What the watch page sends, as it sends it, is held against the specification in every form.
func TestExamineCMCD(t *testing.T) {
	for _, c := range []struct {
		text rest.CMCDText
		want string // key and rule of the first error
	}{
		{rest.CMCDText{Kind: "query", Text: "CMCD=br%3D3000%2Cot%3Dv%2Csid%3D%22s%22%2Cv%3D2"}, "br type"},
		{rest.CMCDText{Kind: "query", Text: "?CMCD=br%3D(3000%3Bv)%2Cot%3Dv%2Csid%3D%22s%22%2Cv%3D2"}, ""},
		{rest.CMCDText{Kind: "headers", Text: "CMCD-Session: sid=\"s\"\r\nX-Other: y\r\nCMCD-Request: br=3000\r\n"}, "br header"},
		{rest.CMCDText{Kind: "record", Text: `bl=(100),sid="s",v=2`}, ""},
		{rest.CMCDText{Kind: "body", Text: "e=ps,sid=\"s\",ts=1764269150889,v=2", ContentType: "application/cmcd"}, "sta missing"},
		{rest.CMCDText{Kind: "json", Text: `{"br":"fast","sid":"s"}`}, "br type"},
		{rest.CMCDText{Kind: "headers", Text: "X-Other: y"}, ""},
	} {
		got, records := "", 0
		for record := range examineCMCD(c.text) {
			records++
			for _, issue := range record.Issues {
				if issue.Severity == "error" && got == "" {
					got = issue.Key + " " + issue.Rule
				}
			}
		}
		if records != 1 || got != c.want {
			t.Errorf("%+v: %d records, first error %q, want %q", c.text, records, got, c.want)
		}
	}
}

// The public listener answers the watch page, and serves pages at the same path.
func TestTheWatchPageCanAsk(t *testing.T) {
	n := testNode(t)
	defer n.giveBack()
	public := n.publicHandler()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/watch/validate", strings.NewReader(`{"records":[{"kind":"query","text":"CMCD=br%3D3000%2Cv%3D2"}]}`))
	r.Header.Set("Content-Type", "application/json")
	public.ServeHTTP(w, r)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"rule":"type"`) {
		t.Errorf("POST: %d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	public.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/watch/validate", nil))
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/html") {
		t.Errorf("GET is answered with %s", got)
	}
}
