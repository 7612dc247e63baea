package client_test

import (
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/client"
)

// Version 1 in headers, without a session to be kept in mind.
func ExamplePrepare() {
	var v cmcd.Values
	v.SetText(cmcd.KeySID, "6e2fb550-c457-11e9-bb97-0800200c9a66")
	v.SetText(cmcd.KeyOT, "v")
	v.SetList(cmcd.KeyBR, cmcd.Item{Number: 3200, Type: "v"}, cmcd.Item{Number: 128, Type: "a"})
	v.SetList(cmcd.KeyMTP, cmcd.Item{Number: 25_387.4})
	v.SetList(cmcd.KeyNOR, cmcd.Item{Text: "https://cdn.example.com/live/video-2.m4s", Range: "0-4095"})
	v.SetNumber(cmcd.KeyPR, 1)  // not worth saying
	v.SetText(cmcd.KeySTA, "p") // version 2 only
	r := httptest.NewRequest("GET", "https://cdn.example.com/live/video-1.m4s", nil)

	sent := client.Prepare(&v, client.Options{Version: 1, BaseURL: r.URL.String()})
	for name, lines := range sent.Headers(nil) {
		r.Header[name] = lines
	}
	for _, name := range []string{"CMCD-Object", "CMCD-Request", "CMCD-Session", "CMCD-Status"} {
		fmt.Printf("%s: %s\n", name, r.Header.Get(name))
	}
	// Output:
	// CMCD-Object: br=3200,ot=v
	// CMCD-Request: mtp=25400,nor="video-2.m4s",nrr="0-4095"
	// CMCD-Session: sid="6e2fb550-c457-11e9-bb97-0800200c9a66"
	// CMCD-Status:
}

// Version 2 in the query.
func ExampleSender_Query() {
	s, err := client.NewSender("s-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, object := range []string{"video-1.m4s", "video-2.m4s"} {
		var v cmcd.Values
		v.SetText(cmcd.KeyOT, "v")
		v.SetList(cmcd.KeyBL, cmcd.Item{Number: 2149, Type: "v"})
		u := "https://cdn.example.com/live/" + object + "?token=x"
		fmt.Println(client.AddToURL(u, s.Query("cdn.example.com", &v, client.Options{BaseURL: u})))
	}
	// Output:
	// https://cdn.example.com/live/video-1.m4s?token=x&CMCD=bl%3D(2100%3Bv)%2Cot%3Dv%2Csid%3D%22s-1%22%2Csn%3D0%2Cv%3D2
	// https://cdn.example.com/live/video-2.m4s?token=x&CMCD=bl%3D(2100%3Bv)%2Cot%3Dv%2Csid%3D%22s-1%22%2Csn%3D1%2Cv%3D2
}

// Version 2, several events in one body.
func ExampleSender_Record() {
	s, err := client.NewSender("s-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	const collector = "https://collector.example.com/cmcd"
	o := client.Options{Now: func() time.Time { return time.UnixMilli(1764269150889) }}
	var records []string
	report := func(event, state string) {
		var v cmcd.Values
		v.SetText(cmcd.KeyE, event)
		v.SetText(cmcd.KeySTA, state)
		record, err := s.Record(collector, &v, o)
		if err != nil {
			fmt.Println(err)
			return
		}
		records = append(records, record)
	}
	s.Starved("v")
	report("ps", "r")
	s.Recovered("v", 1500*time.Millisecond)
	report("ps", "p")
	report("ps", "") // a change of state without the state

	body := client.Body(records...) // POST it to the collector as client.ContentType
	fmt.Printf("%s\n", body)
	// Output:
	// cmcd/client: report of event "ps" has no value of key sta that can be sent; this event must have one
	// bs,e=ps,sid="s-1",sn=0,sta=r,ts=1764269150889,v=2
	// bs,bsd=(1500;v),e=ps,sid="s-1",sn=1,sta=p,ts=1764269150889,v=2
}
