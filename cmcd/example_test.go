package cmcd_test

import (
	"fmt"
	"net/http/httptest"

	"github.com/weir-stream/weir/cmcd"
)

func ExampleFromRequest() {
	r := httptest.NewRequest("GET", "/live/news/video-1-42.m4s?token=x&CMCD=bl%3D2100%2Cbr%3D3200%2Cot%3Dv%2Csid%3D%22s-1%22%2Csu", nil)
	v, ok := cmcd.FromRequest(r.URL.RawQuery, r.Header)
	if !ok {
		fmt.Println("the player says nothing of itself")
		return
	}
	kbps, _ := v.Number(cmcd.KeyBR)
	fmt.Println(v.Text(cmcd.KeySID), kbps, v.Bool(cmcd.KeySU))
	fmt.Println(cmcd.StripQuery(r.URL.RawQuery))
	// Output:
	// s-1 3200 true
	// token=x
}

func ExampleParse() {
	// A player of version 2 that writes a single value where a list is wanted, and a wrong value.
	v, err := cmcd.Parse(`bl=2100,br=(3000;v 164;a),d=soon,ot=a,sid="s-1",v=2`)
	if err != nil {
		fmt.Println(err)
		return
	}
	audio, _ := v.Number(cmcd.KeyBR) // of the object's own type
	video, _ := v.NumberFor(cmcd.KeyBR, "v")
	fmt.Println(audio, video)
	fmt.Println(v.String())
	fmt.Println(v.Warnings)
	// Output:
	// 164 3000
	// bl=(2100),br=(3000;v 164;a),ot=a,sid="s-1",v=2
	// bad_value,scalar
}

func ExampleParseBody() {
	body := "e=ps,sid=\"s-1\",sta=r,ts=1764269150889,v=2\ne=ps,sid=\"s-1\",sta=p,ts=1764269152389,v=2\n"
	for v, err := range cmcd.ParseBody([]byte(body)) {
		ts, _ := v.Number(cmcd.KeyTS)
		fmt.Printf("%s %s %.0f %v\n", v.Text(cmcd.KeyE), v.Text(cmcd.KeySTA), ts, err)
	}
	// Output:
	// ps r 1764269150889 <nil>
	// ps p 1764269152389 <nil>
}

func ExampleValues_SetList() {
	var v cmcd.Values
	v.SetNumber(cmcd.KeyV, 2)
	v.SetText(cmcd.KeySID, "s-1")
	v.SetList(cmcd.KeyBR, cmcd.Item{Number: 3000, Type: "v"}, cmcd.Item{Number: 164, Type: "a"})
	fmt.Println(v.String())
	// Output:
	// br=(3000;v 164;a),sid="s-1",v=2
}

// Who reads a log of a CDN line by line uses a decoder, which allocates nothing.
func ExampleDecoder() {
	decoder := cmcd.Decoder{PercentDecodings: 3} // logs encode the query once more, some twice
	for _, query := range []string{
		"CMCD=bl%253D2100%252Cbr%253D3200%252Csid%253D%2522s-1%2522",
		"CMCD=bl%253D4100%252Cbr%253D1600%252Csid%253D%2522s-1%2522",
	} {
		if v, ok := decoder.FromRequest(query, nil); ok { // v is valid until the next call
			kbps, _ := v.Number(cmcd.KeyBR)
			fmt.Println(v.Text(cmcd.KeySID), kbps)
		}
	}
	// Output:
	// s-1 3200
	// s-1 1600
}

func ExampleValues_Headers() {
	v, _ := cmcd.Parse(`br=(3000;v),bl=(2100),sid="s-1",su,v=2`)
	h := v.Headers(nil)
	for _, name := range []string{"CMCD-Object", "CMCD-Request", "CMCD-Session"} {
		fmt.Println(name+":", h.Get(name))
	}
	// Output:
	// CMCD-Object: br=(3000;v)
	// CMCD-Request: bl=(2100),su
	// CMCD-Session: sid="s-1",v=2
}

func ExampleValues_Query() {
	v, _ := cmcd.Parse(`br=(3000;v),sid="s-1",v=2`)
	fmt.Println("https://cdn.example.com/seg-1.m4s?" + v.Query())
	// Output:
	// https://cdn.example.com/seg-1.m4s?CMCD=br%3D(3000%3Bv)%2Csid%3D%22s-1%22%2Cv%3D2
}

func ExampleLookupCustomKey() {
	c, _ := cmcd.LookupCustomKey("org.svta-p-n")
	fmt.Println(c.Description, c.Header)
	// Output:
	// player name CMCD-Session
}
