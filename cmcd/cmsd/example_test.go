package cmsd_test

import (
	"fmt"
	"net/http"

	"github.com/weir-stream/weir/cmcd/cmsd"
)

func ExampleHop_String() {
	// An edge that answers players sends its own item only.
	edge := cmsd.Hop{Name: "weir-fra1", Throughput: new(int64(25_000)), RTT: new(int64(8)), ResponseDelay: new(int64(0))}
	h := http.Header{}
	h.Set(cmsd.DynamicHeader, edge.String())
	h.Set("Access-Control-Expose-Headers", cmsd.StaticHeader+", "+cmsd.DynamicHeader)
	fmt.Println(h.Get("CMSD-Dynamic"))
	// Output:
	// "weir-fra1";etp=25000;rtt=8;rd=0
}

func ExampleAppend() {
	upstream := http.Header{"Cmsd-Dynamic": {`"origin"; rd=120`, `"shield"; etp=90000`}}
	fmt.Println(cmsd.Append(upstream.Values(cmsd.DynamicHeader), cmsd.Hop{Name: "edge", Duress: true}))
	// Output:
	// "origin";rd=120,"shield";etp=90000,"edge";du
}

func ExampleParseStatic() {
	s, err := cmsd.ParseStatic(`ot=v,sf=h,st=l,d=soon,br=3000,at=1764269150889,n="packager-1"`)
	fmt.Println(s.ObjectType, *s.Bitrate, s.Duration == nil)
	fmt.Println(err)
	// Output:
	// v 3000 true
	// cmsd: CMSD-Static: key "d": found d=soon, expected a whole number that is not below 0
}
