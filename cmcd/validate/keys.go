package validate

import (
	"slices"
	"strings"

	"github.com/weir-stream/weir/cmcd"
)

// roundingRule returns the rule for keys that are rounded to 100.
func roundingRule(k cmcd.Key) int {
	if k == cmcd.KeyBL || k == cmcd.KeyTBL {
		return ruleRoundingShould
	}
	return ruleRoundingMust
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

// cameWithV2 reports whether a token of the key is of version 2 only.
func cameWithV2(k cmcd.Key, token string) bool {
	return k == cmcd.KeySF && token == "e" || k == cmcd.KeyST && token == "ll"
}

// tokensIn lists the tokens that the key has in a version.
func (c *checker) tokensIn(k cmcd.Key, version int) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(c.tokensOf(k)), func(token string) bool {
		return version < 2 && cameWithV2(k, token)
	}), ", ")
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
