package validate

import (
	"slices"

	"github.com/weir-stream/weir/cmcd"
)

// notWith has the keys that must not be sent if another one is known.
var notWith = [...]struct{ key, other cmcd.Key }{
	{cmcd.KeyAB, cmcd.KeyBR},
	{cmcd.KeyLAB, cmcd.KeyLB},
	{cmcd.KeyTAB, cmcd.KeyTB},
}

// objectTypes has the keys that are only for some object types.
var objectTypes = [...]struct {
	key      cmcd.Key
	versions [2]bool // applies to version 1, to version 2
	request  bool    // only in request mode: in event mode the key does not speak of the object
	rule     int
	types    []string
}{
	{cmcd.KeyBL, [2]bool{true, false}, true, ruleObjectTypeShould, []string{"a", "v", "av"}},
	{cmcd.KeyBR, [2]bool{true, true}, true, ruleObjectTypeShould, []string{"a", "v", "av", "i", "c", "tt", "k", "o"}},
	{cmcd.KeyD, [2]bool{false, true}, false, ruleObjectTypeMust, []string{"a", "v", "av", "tt", "c", "o"}},
	{cmcd.KeyDFA, [2]bool{false, true}, false, ruleObjectTypeShould, []string{"v", "av", "o"}},
	{cmcd.KeyTPB, [2]bool{false, true}, false, ruleObjectTypeMust, []string{"a", "v", "av", "c"}},
}

// partners has the keys that an event must bring with it.
var partners = map[string]cmcd.Key{
	"bc": cmcd.KeyBR,
	"c":  cmcd.KeyCID,
	"ce": cmcd.KeyCEN,
	"e":  cmcd.KeyEC,
	"pr": cmcd.KeyPR,
	"ps": cmcd.KeySTA,
	"rr": cmcd.KeyURL,
}

// onlyWith returns the event with which alone the key may be sent.
func onlyWith(k cmcd.Key) (event string, ok bool) {
	switch k {
	case cmcd.KeyCEN:
		return "ce", true
	case cmcd.KeyURL: // it must be sent with rr, but may be sent with others
		return "", false
	default:
		return "rr", k.ResponseOnly()
	}
}

// roundingRule returns the rule for keys that are rounded to 100.
func roundingRule(k cmcd.Key) int {
	if k == cmcd.KeyBL || k == cmcd.KeyTBL {
		return ruleRoundingShould
	}
	return ruleRoundingMust
}

// mayBeNegative: clocks differ, playback can run backwards, and a timeline can begin before zero.
func mayBeNegative(k cmcd.Key) bool {
	return k == cmcd.KeyLTC || k == cmcd.KeyPR || k == cmcd.KeyPT
}

// typeIn is the type of the key's values in a version.
func typeIn(k cmcd.Key, version int) cmcd.Type {
	switch t := k.Type(); {
	case version < 2 && t == cmcd.NumberListType:
		return cmcd.NumberType
	case version < 2 && t == cmcd.TextListType:
		return cmcd.TextType
	default:
		return t
	}
}

// tokensIn returns the tokens that the key has in a version.
func tokensIn(k cmcd.Key, version int) []string {
	tokens := k.Tokens()
	if version >= 2 {
		return tokens
	}
	return slices.DeleteFunc(slices.Clone(tokens), func(token string) bool {
		return k == cmcd.KeySF && token == "e" || k == cmcd.KeyST && token == "ll"
	})
}

// expected says what a value of the key looks like.
func expected(k cmcd.Key, version int) string {
	switch typeIn(k, version) {
	case cmcd.BoolType:
		if version < 2 {
			return "a boolean: the key alone, or no key at all"
		}
		return "a boolean: the key alone, or ?0"
	case cmcd.NumberType:
		if k == cmcd.KeyPR {
			return "a decimal such as 1.5"
		}
		return "an integer"
	case cmcd.TokenType:
		return "a token without quotes"
	case cmcd.NumberListType:
		return "a list of integers in parentheses such as (2000;v)"
	case cmcd.TextListType:
		return `a list of strings in parentheses such as ("x")`
	default:
		return "a string in double quotes"
	}
}
