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
