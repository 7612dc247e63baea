package validate_test

import (
	"fmt"
	"net/http"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/validate"
)

func ExampleRecord() {
	for _, issue := range validate.Record(`br=3000,cid="movie",mtp=(12345),ot="v",sid="s-1",v=2`, validate.Options{}) {
		fmt.Println(issue)
	}
	// Output:
	// error type br: br is the integer 3000, expected a list of integers in parentheses such as (2000;v) (CTA-5004-B §4.3 Table 1)
	// error rounding mtp: mtp is 12345, expected it rounded to the nearest 100: 12300 (CTA-5004-B §4.3 Table 1)
	// error type ot: ot is the string "v", expected a token without quotes (CTA-5004-B §4.3 Table 1)
}

func ExampleRecord_event() {
	issues := validate.Record(`e=ps,sid="s-1",ts=1764269150889,v=2`, validate.Options{Mode: cmcd.EventMode})
	fmt.Println(issues[0].Message)
	// Output: sta is missing, expected it with e=ps
}

func ExampleRequest() {
	r, _ := http.NewRequest(http.MethodGet, "https://cdn.example.com/seg-1.mp4?CMCD=ot%3Dv%2Cbr%3D3000%2Csid%3D%22s-1%22", nil)
	issues := validate.Request(r.URL.RawQuery, r.Header)
	fmt.Println(issues[0], validate.HasErrors(issues))
	// Output: warning order br: br comes after ot, expected alphabetical order (CTA-5004 §3.2 item 9) false
}

func ExampleBody() {
	body := "e=t,sid=\"s-1\",ts=1764752400000,v=2\ne=e,sid=\"s-1\",ts=1764752401000,v=2\n"
	for _, issue := range validate.Body("text/cmcd", []byte(body)) {
		fmt.Println(issue.Record, issue.Severity, issue.Message)
	}
	// Output:
	// 0 error the media type is text/cmcd, which was that of CTA-5004-A, expected application/cmcd
	// 1 error ec is missing, expected it with e=e
	// 0 warning the body ends with a line feed, expected line feeds only between records
}
