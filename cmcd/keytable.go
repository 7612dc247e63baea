package cmcd

// The number of keys of each type. Texts and tokens share their slots, and so do both kinds of list.
const (
	numberCount = 15
	listCount   = 16
	textCount   = 16
)

// maxKeyLength is the length of the longest key.
const maxKeyLength = 5

type keyInfo struct {
	name   string
	typ    Type
	index  int8 // slot among the keys that are stored together
	header Header
}

// keyTable is Table 1 of CTA-5004-B, with the headers of version 2.
var keyTable = [keyCount]keyInfo{
	KeyAB:    {"ab", NumberListType, 0, ObjectHeader},
	KeyBG:    {"bg", BoolType, 0, StatusHeader},
	KeyBL:    {"bl", NumberListType, 1, RequestHeader},
	KeyBR:    {"br", NumberListType, 2, ObjectHeader},
	KeyBS:    {"bs", BoolType, 0, StatusHeader},
	KeyBSA:   {"bsa", NumberListType, 3, StatusHeader},
	KeyBSD:   {"bsd", NumberListType, 4, StatusHeader},
	KeyBSDA:  {"bsda", NumberListType, 5, StatusHeader},
	KeyCDN:   {"cdn", TextType, 0, StatusHeader},
	KeyCEN:   {"cen", TextType, 1, NoHeader},
	KeyCID:   {"cid", TextType, 2, SessionHeader},
	KeyCMSDD: {"cmsdd", TextType, 3, NoHeader},
	KeyCMSDS: {"cmsds", TextType, 4, NoHeader},
	KeyCS:    {"cs", TextType, 5, RequestHeader},
	KeyD:     {"d", NumberType, 0, ObjectHeader},
	KeyDFA:   {"dfa", NumberType, 1, RequestHeader},
	KeyDL:    {"dl", NumberType, 2, RequestHeader},
	KeyE:     {"e", TokenType, 6, NoHeader},
	KeyEC:    {"ec", TextListType, 6, StatusHeader},
	KeyH:     {"h", TextType, 7, NoHeader},
	KeyLAB:   {"lab", NumberListType, 7, ObjectHeader},
	KeyLB:    {"lb", NumberListType, 8, ObjectHeader},
	KeyLTC:   {"ltc", NumberType, 3, RequestHeader},
	KeyMSD:   {"msd", NumberType, 4, SessionHeader},
	KeyMTP:   {"mtp", NumberListType, 9, RequestHeader},
	KeyNOR:   {"nor", TextListType, 10, RequestHeader},
	KeyNR:    {"nr", BoolType, 0, StatusHeader},
	KeyNRR:   {"nrr", TextType, 8, NoHeader},
	KeyOT:    {"ot", TokenType, 9, ObjectHeader},
	KeyPB:    {"pb", NumberListType, 11, RequestHeader},
	KeyPR:    {"pr", NumberType, 5, StatusHeader},
	KeyPT:    {"pt", NumberType, 6, StatusHeader},
	KeyRC:    {"rc", NumberType, 7, NoHeader},
	KeyRTP:   {"rtp", NumberType, 8, StatusHeader},
	KeySF:    {"sf", TokenType, 10, SessionHeader},
	KeySID:   {"sid", TextType, 11, SessionHeader},
	KeySMRT:  {"smrt", TextType, 12, NoHeader},
	KeySN:    {"sn", NumberType, 9, RequestHeader},
	KeyST:    {"st", TokenType, 13, SessionHeader},
	KeySTA:   {"sta", TokenType, 14, RequestHeader},
	KeySU:    {"su", BoolType, 0, RequestHeader},
	KeyTAB:   {"tab", NumberListType, 12, ObjectHeader},
	KeyTB:    {"tb", NumberListType, 13, ObjectHeader},
	KeyTBL:   {"tbl", NumberListType, 14, RequestHeader},
	KeyTPB:   {"tpb", NumberListType, 15, ObjectHeader},
	KeyTS:    {"ts", NumberType, 10, NoHeader},
	KeyTTFB:  {"ttfb", NumberType, 11, NoHeader},
	KeyTTFBB: {"ttfbb", NumberType, 12, NoHeader},
	KeyTTLB:  {"ttlb", NumberType, 13, NoHeader},
	KeyURL:   {"url", TextType, 15, NoHeader},
	KeyV:     {"v", NumberType, 14, SessionHeader},
}

// keysOfV1 are the keys of version 1.
const keysOfV1 uint64 = 1<<KeyBL | 1<<KeyBR | 1<<KeyBS | 1<<KeyCID | 1<<KeyD | 1<<KeyDL | 1<<KeyMTP | 1<<KeyNOR |
	1<<KeyNRR | 1<<KeyOT | 1<<KeyPR | 1<<KeyRTP | 1<<KeySF | 1<<KeySID | 1<<KeyST | 1<<KeySU | 1<<KeyTB | 1<<KeyV

// responseKeys go only with the event rr.
const responseKeys uint64 = 1<<KeyCMSDD | 1<<KeyCMSDS | 1<<KeyRC | 1<<KeySMRT | 1<<KeyTTFB | 1<<KeyTTFBB | 1<<KeyTTLB | 1<<KeyURL

// limitedKeys are the texts with a greatest length.
const limitedKeys uint64 = 1<<KeyCDN | 1<<KeyCEN | 1<<KeyCID | 1<<KeyH | 1<<KeySID

// scalarInV1 has the list keys that version 1 knows, where they are single values.
const scalarInV1 uint64 = 1<<KeyBL | 1<<KeyBR | 1<<KeyMTP | 1<<KeyNOR | 1<<KeyTB

// The tokens (Table 1). The state w has no definition: it stands in the list by mistake
// (cta-wave/common-media-client-data, issue 197), but players send it.
var (
	eventTokens = [...]string{
		"abs", "abe", "ae", "as", "b", "bc", "c", "ce", "e", "h", "m", "pc", "pe", "pr", "ps", "rr", "sk", "t", "um",
	}
	objectTokens = [...]string{"m", "a", "v", "av", "i", "c", "tt", "k", "o"}
	formatTokens = [...]string{"d", "h", "e", "s", "o"}
	streamTokens = [...]string{"v", "l", "ll"}
	stateTokens  = [...]string{"s", "p", "k", "r", "a", "w", "e", "f", "q", "d"}
)

// pack makes a number of a short name, so that names can be compared at once.
func pack(name string) uint64 {
	var packed uint64
	for i := 0; i < len(name); i++ {
		packed = packed<<8 | uint64(name[i])
	}
	return packed
}

// keyIndex finds keys by their packed name: a hash table with open addressing.
var keyIndex = func() (table [256]struct {
	packed uint64
	key    Key
},
) {
	for k := range keyCount {
		packed := pack(keyTable[k].name)
		h := hash(packed)
		for table[h].packed != 0 {
			h++
		}
		table[h].packed, table[h].key = packed, k
	}
	return table
}()

func hash(packed uint64) uint8 { return uint8((packed * 0x9E3779B97F4A7C15) >> 56) }

func lookupPacked(packed uint64) (Key, bool) {
	for h := hash(packed); ; h++ {
		switch e := &keyIndex[h]; e.packed {
		case packed:
			return e.key, packed != 0
		case 0:
			return 0, false
		}
	}
}
