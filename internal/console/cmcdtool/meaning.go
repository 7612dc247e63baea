package cmcdtool

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/cmcd"
)

// unit is what the numbers of a key count.
type unit uint8

const (
	plain unit = iota
	kilobits
	milliseconds
	unixMilliseconds
	playhead // milliseconds, and in a live stream Unix time
)

// meaning returns what a key stands for, in the words of the watch page.
func meaning(k cmcd.Key) (string, unit) {
	switch k {
	case cmcd.KeyAB:
		return "aggregate encoded bitrate", kilobits
	case cmcd.KeyBG:
		return "the player is in the background", plain
	case cmcd.KeyBL:
		return "buffer length", milliseconds
	case cmcd.KeyBR:
		return "encoded bitrate of this object", kilobits
	case cmcd.KeyBS:
		return "the buffer ran dry since the last report (also after a seek)", plain
	case cmcd.KeyBSA:
		return "times the buffer ran dry since the session began", plain
	case cmcd.KeyBSD:
		return "durations of finished rebuffers", milliseconds
	case cmcd.KeyBSDA:
		return "total time of rebuffering", milliseconds
	case cmcd.KeyCDN:
		return "name of the CDN", plain
	case cmcd.KeyCEN:
		return "name of a custom event", plain
	case cmcd.KeyCID:
		return "content ID: what is played", plain
	case cmcd.KeyCMSDD:
		return "server data of the response (CMSD-Dynamic)", plain
	case cmcd.KeyCMSDS:
		return "server data of the response (CMSD-Static)", plain
	case cmcd.KeyCS:
		return "content signature", plain
	case cmcd.KeyD:
		return "duration of this object", milliseconds
	case cmcd.KeyDFA:
		return "frames dropped since the session began", plain
	case cmcd.KeyDL:
		return "deadline: time until the buffer runs dry", milliseconds
	case cmcd.KeyE:
		return "event that is reported", plain
	case cmcd.KeyEC:
		return "error codes of the player", plain
	case cmcd.KeyH:
		return "host name", plain
	case cmcd.KeyLAB:
		return "lowest aggregate bitrate", kilobits
	case cmcd.KeyLB:
		return "lowest bitrate of the ladder", kilobits
	case cmcd.KeyLTC:
		return "live latency", milliseconds
	case cmcd.KeyMSD:
		return "media start delay: time to the first frame", milliseconds
	case cmcd.KeyMTP:
		return "measured throughput", kilobits
	case cmcd.KeyNOR:
		return "next object that will be requested", plain
	case cmcd.KeyNR:
		return "the media is not rendered", plain
	case cmcd.KeyNRR:
		return "next range that will be requested", plain
	case cmcd.KeyOT:
		return "object type", plain
	case cmcd.KeyPB:
		return "bitrate at the playhead", kilobits
	case cmcd.KeyPR:
		return "playback rate, 1 is real time", plain
	case cmcd.KeyPT:
		return "playhead time", playhead
	case cmcd.KeyRC:
		return "status of the response", plain
	case cmcd.KeyRTP:
		return "most throughput that is asked for", kilobits
	case cmcd.KeySF:
		return "streaming format", plain
	case cmcd.KeySID:
		return "session ID: this playback", plain
	case cmcd.KeySMRT:
		return "trace of the request", plain
	case cmcd.KeySN:
		return "sequence number of the report", plain
	case cmcd.KeyST:
		return "stream type", plain
	case cmcd.KeySTA:
		return "state of the player", plain
	case cmcd.KeySU:
		return "urgent: the player starts, seeks or recovers", plain
	case cmcd.KeyTAB:
		return "top aggregate bitrate", kilobits
	case cmcd.KeyTB:
		return "top bitrate of the ladder", kilobits
	case cmcd.KeyTBL:
		return "target buffer length", milliseconds
	case cmcd.KeyTPB:
		return "top bitrate that this device can play", kilobits
	case cmcd.KeyTS:
		return "time of the event", unixMilliseconds
	case cmcd.KeyTTFB:
		return "time to the first byte", milliseconds
	case cmcd.KeyTTFBB:
		return "time to the first byte of the body", milliseconds
	case cmcd.KeyTTLB:
		return "time to the last byte", milliseconds
	case cmcd.KeyURL:
		return "requested address", plain
	case cmcd.KeyV:
		return "version of CMCD", plain
	default:
		return "", plain
	}
}

// tokenMeaning returns what a token of a key stands for, "" if the specification does not define it.
func tokenMeaning(k cmcd.Key, token string) string {
	var pairs string
	switch k {
	case cmcd.KeyOT:
		pairs = "m=manifest,v=video,a=audio,av=audio and video,i=init segment,c=caption,tt=timed text,k=key,o=other"
	case cmcd.KeySF:
		pairs = "d=DASH,h=HLS,s=Smooth Streaming,e=HESP,o=other"
	case cmcd.KeyST:
		pairs = "v=on demand,l=live,ll=low-latency live"
	case cmcd.KeySTA:
		pairs = "s=starting,p=playing,k=seeking,r=rebuffering,a=paused,w=waiting,e=ended,f=fatal error,q=quit,d=preloading"
	case cmcd.KeyE:
		pairs = "abs=ad break starts,abe=ad break ends,ae=ad ends,as=ad starts,b=background mode changed,bc=bitrate changed," +
			"c=content ID changed,ce=custom event,e=error,h=host name changed,m=muted,pc=player collapsed,pe=player expanded," +
			"pr=playback rate changed,ps=player state changed,rr=response received,sk=ad skipped,t=time interval,um=unmuted"
	default:
		return ""
	}
	for pair := range strings.SplitSeq(pairs, ",") {
		if name, text, _ := strings.Cut(pair, "="); name == token {
			return text
		}
	}
	return ""
}

// explain says what a key and its value stand for, with the units that people use.
func explain(v *cmcd.Values, k cmcd.Key) string {
	text, u := meaning(k)
	var said []string
	switch k.Type() {
	case cmcd.TokenType:
		said = append(said, tokenMeaning(k, v.Text(k)))
	case cmcd.NumberType:
		n, _ := v.Number(k)
		said = append(said, quantity(n, u))
	case cmcd.NumberListType:
		for _, item := range v.List(k) {
			one := quantity(item.Number, u)
			if of := tokenMeaning(cmcd.KeyOT, item.Type); of != "" && one != "" {
				one += " " + of
			}
			said = append(said, one)
		}
	case cmcd.BoolType:
		if !v.Bool(k) {
			return "not: " + text
		}
	default:
	}
	if all := strings.Join(said, ", "); all != "" {
		return text + ": " + all
	}
	return text
}

// quantity writes a number with the unit that suits its size, "" if the number says it all.
func quantity(n float64, u unit) string {
	switch {
	case u == playhead && n >= 1e12: // a time of day since 2001; no recording is 30 years long
		return quantity(n, unixMilliseconds)
	case u == kilobits && math.Abs(n) >= 1000:
		return amount(n/1000) + " Mbit/s"
	case u == kilobits:
		return amount(n) + " kbit/s"
	case u == milliseconds || u == playhead:
		if math.Abs(n) >= 1000 {
			return amount(n/1000) + " s"
		}
		return amount(n) + " ms"
	case u == unixMilliseconds:
		return time.UnixMilli(int64(n)).UTC().Format("2006-01-02 15:04:05.000 UTC")
	default:
		return ""
	}
}

func amount(n float64) string {
	return strconv.FormatFloat(math.Round(n*1000)/1000, 'f', -1, 64)
}

// customMeaning says what is known of a key outside the specification.
func customMeaning(name string) string {
	if k, ok := cmcd.LookupCustomKey(name); ok {
		return fmt.Sprintf("%s (registered custom key)", strings.TrimSuffix(k.Description, "."))
	}
	return "custom key"
}

// tolerance says what a decoder put up with, by the word of the warning.
func tolerance(word string) string {
	switch word {
	case "comma":
		return "a comma too many"
	case "duplicate":
		return "a key came more than once; the last good value counts"
	case "unknown_key":
		return "a key that is neither in the specification nor custom was ignored"
	case "unknown_token":
		return "a token that is not in the specification was kept"
	case "bad_value":
		return "a value that makes no sense was dropped"
	case "quoted":
		return "a token, number or boolean stands in quotes"
	case "unquoted":
		return "a string stands without quotes"
	case "scalar":
		return "version 2 wants a list where there is a single value"
	case "list":
		return "a list stands where a single value is wanted"
	case "quote":
		return "a quote or backslash in a string is not escaped"
	case "boolean":
		return "a boolean is written as a word or number"
	case "decimal":
		return "a decimal stands where an integer is wanted, or has more than three digits behind the point"
	case "parameter":
		return "a parameter that means nothing was ignored"
	case "character":
		return "a character that is not printable ASCII"
	case "space":
		return "a space beside an equals sign, or a tab in a list"
	case "percent":
		return "a percent sign begins no escape"
	case "repeated":
		return "several CMCD arguments; the last good one counts"
	case "query_ignored":
		return "headers and a CMCD argument; the headers count"
	case "too_long":
		return "a string is longer than the specification allows"
	case "too_many":
		return "more list items or custom keys than are kept"
	default:
		return ""
	}
}
