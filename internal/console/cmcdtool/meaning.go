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

// meanings are what the keys stand for, in the words of the watch page.
var meanings = [...]struct {
	text string
	unit unit
}{
	cmcd.KeyAB:    {"aggregate encoded bitrate", kilobits},
	cmcd.KeyBG:    {"the player is in the background", plain},
	cmcd.KeyBL:    {"buffer length", milliseconds},
	cmcd.KeyBR:    {"encoded bitrate of this object", kilobits},
	cmcd.KeyBS:    {"the buffer ran dry since the last report (also after a seek)", plain},
	cmcd.KeyBSA:   {"times the buffer ran dry since the session began", plain},
	cmcd.KeyBSD:   {"durations of finished rebuffers", milliseconds},
	cmcd.KeyBSDA:  {"total time of rebuffering", milliseconds},
	cmcd.KeyCDN:   {"name of the CDN", plain},
	cmcd.KeyCEN:   {"name of a custom event", plain},
	cmcd.KeyCID:   {"content ID: what is played", plain},
	cmcd.KeyCMSDD: {"server data of the response (CMSD-Dynamic)", plain},
	cmcd.KeyCMSDS: {"server data of the response (CMSD-Static)", plain},
	cmcd.KeyCS:    {"content signature", plain},
	cmcd.KeyD:     {"duration of this object", milliseconds},
	cmcd.KeyDFA:   {"frames dropped since the session began", plain},
	cmcd.KeyDL:    {"deadline: time until the buffer runs dry", milliseconds},
	cmcd.KeyE:     {"event that is reported", plain},
	cmcd.KeyEC:    {"error codes of the player", plain},
	cmcd.KeyH:     {"host name", plain},
	cmcd.KeyLAB:   {"lowest aggregate bitrate", kilobits},
	cmcd.KeyLB:    {"lowest bitrate of the ladder", kilobits},
	cmcd.KeyLTC:   {"live latency", milliseconds},
	cmcd.KeyMSD:   {"media start delay: time to the first frame", milliseconds},
	cmcd.KeyMTP:   {"measured throughput", kilobits},
	cmcd.KeyNOR:   {"next object that will be requested", plain},
	cmcd.KeyNR:    {"the media is not rendered", plain},
	cmcd.KeyNRR:   {"next range that will be requested", plain},
	cmcd.KeyOT:    {"object type", plain},
	cmcd.KeyPB:    {"bitrate at the playhead", kilobits},
	cmcd.KeyPR:    {"playback rate, 1 is real time", plain},
	cmcd.KeyPT:    {"playhead time", playhead},
	cmcd.KeyRC:    {"status of the response", plain},
	cmcd.KeyRTP:   {"most throughput that is asked for", kilobits},
	cmcd.KeySF:    {"streaming format", plain},
	cmcd.KeySID:   {"session ID: this playback", plain},
	cmcd.KeySMRT:  {"trace of the request", plain},
	cmcd.KeySN:    {"sequence number of the report", plain},
	cmcd.KeyST:    {"stream type", plain},
	cmcd.KeySTA:   {"state of the player", plain},
	cmcd.KeySU:    {"urgent: the player starts, seeks or recovers", plain},
	cmcd.KeyTAB:   {"top aggregate bitrate", kilobits},
	cmcd.KeyTB:    {"top bitrate of the ladder", kilobits},
	cmcd.KeyTBL:   {"target buffer length", milliseconds},
	cmcd.KeyTPB:   {"top bitrate that this device can play", kilobits},
	cmcd.KeyTS:    {"time of the event", unixMilliseconds},
	cmcd.KeyTTFB:  {"time to the first byte", milliseconds},
	cmcd.KeyTTFBB: {"time to the first byte of the body", milliseconds},
	cmcd.KeyTTLB:  {"time to the last byte", milliseconds},
	cmcd.KeyURL:   {"requested address", plain},
	cmcd.KeyV:     {"version of CMCD", plain},
}

// tokens are what the tokens of the keys stand for, in the words of the watch page.
var tokens = map[cmcd.Key]string{
	cmcd.KeyOT:  "m=manifest,v=video,a=audio,av=audio and video,i=init segment,c=caption,tt=timed text,k=key,o=other",
	cmcd.KeySF:  "d=DASH,h=HLS,s=Smooth Streaming,e=HESP,o=other",
	cmcd.KeyST:  "v=on demand,l=live,ll=low-latency live",
	cmcd.KeySTA: "s=starting,p=playing,k=seeking,r=rebuffering,a=paused,w=waiting,e=ended,f=fatal error,q=quit,d=preloading",
	cmcd.KeyE: "abs=ad break starts,abe=ad break ends,ae=ad ends,as=ad starts,b=background mode changed,bc=bitrate changed," +
		"c=content ID changed,ce=custom event,e=error,h=host name changed,m=muted,pc=player collapsed,pe=player expanded," +
		"pr=playback rate changed,ps=player state changed,rr=response received,sk=ad skipped,t=time interval,um=unmuted",
}

// tokenMeaning returns what a token of a key stands for, "" if the specification does not define it.
func tokenMeaning(k cmcd.Key, token string) string {
	for pair := range strings.SplitSeq(tokens[k], ",") {
		if name, text, _ := strings.Cut(pair, "="); name == token {
			return text
		}
	}
	return ""
}

// explain says what a key and its value stand for, with the units that people use.
func explain(v *cmcd.Values, k cmcd.Key) string {
	text, u := meanings[k].text, meanings[k].unit
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

// tolerances say what a decoder put up with, by the word of the warning.
var tolerances = map[string]string{
	"comma":         "a comma too many",
	"duplicate":     "a key came more than once; the last good value counts",
	"unknown_key":   "a key that is neither in the specification nor custom was ignored",
	"unknown_token": "a token that is not in the specification was kept",
	"bad_value":     "a value that makes no sense was dropped",
	"quoted":        "a token, number or boolean stands in quotes",
	"unquoted":      "a string stands without quotes",
	"scalar":        "version 2 wants a list where there is a single value",
	"list":          "a list stands where a single value is wanted",
	"quote":         "a quote or backslash in a string is not escaped",
	"boolean":       "a boolean is written as a word or number",
	"decimal":       "a decimal stands where an integer is wanted, or has more than three digits behind the point",
	"parameter":     "a parameter that means nothing was ignored",
	"character":     "a character that is not printable ASCII",
	"space":         "a space beside an equals sign, or a tab in a list",
	"percent":       "a percent sign begins no escape",
	"repeated":      "several CMCD arguments; the last good one counts",
	"query_ignored": "headers and a CMCD argument; the headers count",
	"too_long":      "a string is longer than the specification allows",
	"too_many":      "more list items or custom keys than are kept",
}
