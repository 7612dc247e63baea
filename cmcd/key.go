package cmcd

import "fmt"

// Key is one of the keys of CTA-5004 (version 1) and CTA-5004-B (version 2), Table 1. The
// constants are in alphabetical order, which is the order in which records are written.
type Key uint8

// The keys.
const (
	KeyAB    Key = iota // aggregate encoded bitrate, kbit/s
	KeyBG               // backgrounded
	KeyBL               // buffer length, ms
	KeyBR               // encoded bitrate, kbit/s
	KeyBS               // buffer starved since the prior report
	KeyBSA              // buffer starvations since the session began
	KeyBSD              // durations of completed starvations, ms
	KeyBSDA             // total starvation time, ms
	KeyCDN              // CDN (reference library only)
	KeyCEN              // custom event name
	KeyCID              // content ID
	KeyCMSDD            // CMSD-Dynamic of the response, Base64
	KeyCMSDS            // CMSD-Static of the response, Base64
	KeyCS               // content signature
	KeyD                // object duration, ms
	KeyDFA              // dropped frames since the session began
	KeyDL               // deadline, ms
	KeyE                // event
	KeyEC               // player error codes
	KeyH                // hostname
	KeyLAB              // lowest aggregate bitrate, kbit/s
	KeyLB               // lowest bitrate, kbit/s
	KeyLTC              // live latency, ms
	KeyMSD              // media start delay, ms
	KeyMTP              // measured throughput, kbit/s
	KeyNOR              // next object requests
	KeyNR               // not rendered
	KeyNRR              // next range request (version 1)
	KeyOT               // object type
	KeyPB               // playhead bitrate, kbit/s
	KeyPR               // playback rate
	KeyPT               // playhead time, ms
	KeyRC               // final response code
	KeyRTP              // requested maximum throughput, kbit/s
	KeySF               // streaming format
	KeySID              // session ID
	KeySMRT             // request tracing header, Base64
	KeySN               // sequence number
	KeyST               // stream type
	KeySTA              // player state
	KeySU               // startup: the object is needed urgently
	KeyTAB              // top aggregate bitrate, kbit/s
	KeyTB               // top bitrate, kbit/s
	KeyTBL              // target buffer length, ms
	KeyTPB              // top playable bitrate, kbit/s
	KeyTS               // event time, Unix ms
	KeyTTFB             // time to first byte, ms
	KeyTTFBB            // time to first body byte, ms
	KeyTTLB             // time to last byte, ms
	KeyURL              // requested URL
	KeyV                // version
	keyCount
)

// Type is the type of a key's value.
type Type uint8

// The types of value.
const (
	BoolType       Type = iota + 1
	NumberType          // integer or decimal
	TextType            // string, quoted on the wire
	TokenType           // token, bare on the wire
	NumberListType      // inner list of numbers, each may have an object type
	TextListType        // inner list of strings
)

// The number of keys of each type. Texts and tokens share their slots, and so do both kinds of list.
const (
	numberCount = 15
	listCount   = 16
	textCount   = 16
)

type keyInfo struct {
	name  string
	typ   Type
	index int8 // slot among the keys that are stored together
}

var keyTable = [keyCount]keyInfo{
	KeyAB:    {"ab", NumberListType, 0},
	KeyBG:    {"bg", BoolType, 0},
	KeyBL:    {"bl", NumberListType, 1},
	KeyBR:    {"br", NumberListType, 2},
	KeyBS:    {"bs", BoolType, 0},
	KeyBSA:   {"bsa", NumberListType, 3},
	KeyBSD:   {"bsd", NumberListType, 4},
	KeyBSDA:  {"bsda", NumberListType, 5},
	KeyCDN:   {"cdn", TextType, 0},
	KeyCEN:   {"cen", TextType, 1},
	KeyCID:   {"cid", TextType, 2},
	KeyCMSDD: {"cmsdd", TextType, 3},
	KeyCMSDS: {"cmsds", TextType, 4},
	KeyCS:    {"cs", TextType, 5},
	KeyD:     {"d", NumberType, 0},
	KeyDFA:   {"dfa", NumberType, 1},
	KeyDL:    {"dl", NumberType, 2},
	KeyE:     {"e", TokenType, 6},
	KeyEC:    {"ec", TextListType, 6},
	KeyH:     {"h", TextType, 7},
	KeyLAB:   {"lab", NumberListType, 7},
	KeyLB:    {"lb", NumberListType, 8},
	KeyLTC:   {"ltc", NumberType, 3},
	KeyMSD:   {"msd", NumberType, 4},
	KeyMTP:   {"mtp", NumberListType, 9},
	KeyNOR:   {"nor", TextListType, 10},
	KeyNR:    {"nr", BoolType, 0},
	KeyNRR:   {"nrr", TextType, 8},
	KeyOT:    {"ot", TokenType, 9},
	KeyPB:    {"pb", NumberListType, 11},
	KeyPR:    {"pr", NumberType, 5},
	KeyPT:    {"pt", NumberType, 6},
	KeyRC:    {"rc", NumberType, 7},
	KeyRTP:   {"rtp", NumberType, 8},
	KeySF:    {"sf", TokenType, 10},
	KeySID:   {"sid", TextType, 11},
	KeySMRT:  {"smrt", TextType, 12},
	KeySN:    {"sn", NumberType, 9},
	KeyST:    {"st", TokenType, 13},
	KeySTA:   {"sta", TokenType, 14},
	KeySU:    {"su", BoolType, 0},
	KeyTAB:   {"tab", NumberListType, 12},
	KeyTB:    {"tb", NumberListType, 13},
	KeyTBL:   {"tbl", NumberListType, 14},
	KeyTPB:   {"tpb", NumberListType, 15},
	KeyTS:    {"ts", NumberType, 10},
	KeyTTFB:  {"ttfb", NumberType, 11},
	KeyTTFBB: {"ttfbb", NumberType, 12},
	KeyTTLB:  {"ttlb", NumberType, 13},
	KeyURL:   {"url", TextType, 15},
	KeyV:     {"v", NumberType, 14},
}

// String returns the key as it is written, such as "br".
func (k Key) String() string {
	if k >= keyCount {
		return fmt.Sprintf("Key(%d)", uint8(k))
	}
	return keyTable[k].name
}

// Type returns the type of the key's values in version 2; in version 1 the numeric lists are
// single numbers and nor is a single string.
func (k Key) Type() Type { return keyTable[k].typ }

// LookupKey returns the key that is written as name.
func LookupKey(name string) (k Key, ok bool) {
	// A switch is faster here than a map, and needs nothing to be made at start-up.
	switch name {
	case "ab":
		return KeyAB, true
	case "bg":
		return KeyBG, true
	case "bl":
		return KeyBL, true
	case "br":
		return KeyBR, true
	case "bs":
		return KeyBS, true
	case "bsa":
		return KeyBSA, true
	case "bsd":
		return KeyBSD, true
	case "bsda":
		return KeyBSDA, true
	case "cdn":
		return KeyCDN, true
	case "cen":
		return KeyCEN, true
	case "cid":
		return KeyCID, true
	case "cmsdd":
		return KeyCMSDD, true
	case "cmsds":
		return KeyCMSDS, true
	case "cs":
		return KeyCS, true
	case "d":
		return KeyD, true
	case "dfa":
		return KeyDFA, true
	case "dl":
		return KeyDL, true
	case "e":
		return KeyE, true
	case "ec":
		return KeyEC, true
	case "h":
		return KeyH, true
	case "lab":
		return KeyLAB, true
	case "lb":
		return KeyLB, true
	case "ltc":
		return KeyLTC, true
	case "msd":
		return KeyMSD, true
	case "mtp":
		return KeyMTP, true
	case "nor":
		return KeyNOR, true
	case "nr":
		return KeyNR, true
	case "nrr":
		return KeyNRR, true
	case "ot":
		return KeyOT, true
	case "pb":
		return KeyPB, true
	case "pr":
		return KeyPR, true
	case "pt":
		return KeyPT, true
	case "rc":
		return KeyRC, true
	case "rtp":
		return KeyRTP, true
	case "sf":
		return KeySF, true
	case "sid":
		return KeySID, true
	case "smrt":
		return KeySMRT, true
	case "sn":
		return KeySN, true
	case "st":
		return KeyST, true
	case "sta":
		return KeySTA, true
	case "su":
		return KeySU, true
	case "tab":
		return KeyTAB, true
	case "tb":
		return KeyTB, true
	case "tbl":
		return KeyTBL, true
	case "tpb":
		return KeyTPB, true
	case "ts":
		return KeyTS, true
	case "ttfb":
		return KeyTTFB, true
	case "ttfbb":
		return KeyTTFBB, true
	case "ttlb":
		return KeyTTLB, true
	case "url":
		return KeyURL, true
	case "v":
		return KeyV, true
	}
	return 0, false
}

func (k Key) slot() int8 { return keyTable[k].index }

// singleText is the slot of the only item of k, a list of strings.
func (k Key) singleText() int {
	if k == KeyEC {
		return textCount
	}
	return textCount + 1
}

func (k Key) must(a, b Type) {
	if t := k.Type(); t != a && t != b {
		panic(fmt.Sprintf("cmcd: key %v is of type %d, not %d", k, t, a))
	}
}
