package quirk_test

import (
	"fmt"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/quirk"
)

// The records of a session tell which player it is, and that tells what to believe of them.
func Example() {
	records := []string{
		`br=468,mtp=500,ot=m,sf=h,sid="s-1",su`,
		`bl=2000,br=218,d=2000,mtp=500,ot=a,rtp=1100,sf=h,sid="s-1",st=v`,
	}
	var signature quirk.Signature
	var session []cmcd.Values
	for _, record := range records {
		v, err := cmcd.Parse(record)
		if err != nil {
			continue
		}
		signature.Add(&v)
		session = append(session, v)
	}
	player, _ := signature.Player("Mozilla/5.0 Chrome/130.0 Safari/537.36")
	fmt.Println(player, player.Evidence)

	quirks := quirk.Of(player)
	if q, ok := quirks.Find(cmcd.KeyBR, &session[1]); ok {
		fmt.Println(q.Key, q.Verdict)
	}
	// Output:
	// hls.js key_set
	// br ignore
}
