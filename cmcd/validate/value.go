package validate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/rules"
	"github.com/weir-stream/weir/cmcd/internal/sf"
)

// member checks a key and its value by themselves.
func (c *checker) member(header cmcd.Header, m *sf.Member) {
	k, known := cmcd.LookupKey(m.Name)
	switch {
	case !known && strings.Contains(m.Name, "-"):
		c.custom(header, m)
		return
	case !known:
		c.add(ruleUnknownKey, m.Name, "%s is no key of CMCD; a key of your own is expected to have a prefix with a hyphen, such as com.example-%s",
			clip(m.Name), clip(m.Name))
		return
	case k == cmcd.KeyCDN:
		c.add(ruleUnknownKey, m.Name, "cdn is known to the reference library only, expected a key of Table 1 or one with a prefix such as com.example-cdn")
	case c.version == 1 && !k.In(1, cmcd.RequestMode):
		c.add(ruleUnknownKey, m.Name, "%v is a key of version 2, expected a key of version 1%s", k, c.orVersion2())
	case k == cmcd.KeyNRR && c.version == 2:
		c.add(ruleUnknownKey, m.Name, `nrr is a key of version 1, expected the range as a parameter of nor: nor=("x";r="0-99")`)
	case !k.In(c.version, c.options.Mode):
		c.add(ruleMode, m.Name, "%v is a key of event mode, expected only keys of request mode", k)
	case header != cmcd.NoHeader && header != k.Header(c.version):
		c.add(ruleHeader, m.Name, "%v is in %v, expected it in %v", k, header, k.Header(c.version))
	}
	if m.Err == nil {
		c.value(k, m)
	}
}

// orVersion2 is the way out for what version 1 does not have. JSON has none.
func (c *checker) orVersion2() string {
	if c.json {
		return ", the only one that has JSON"
	}
	return ", or v=2 in the record"
}

func (c *checker) value(k cmcd.Key, m *sf.Member) {
	version := c.version
	if !k.In(version, cmcd.RequestMode) && !k.In(version, cmcd.EventMode) {
		version = 3 - version // the key is of the other version, and so is its value
	}
	switch t := typeIn(k, version); t {
	case cmcd.NumberListType, cmcd.TextListType:
		if !m.List {
			c.wrongType(k, version, m.Value, m)
			return
		}
		if len(m.Items) == 0 {
			c.add(ruleEmptyList, m.Name, "%v is an empty list, expected no %v", k, k)
		}
		var seen typeSets
		for i := range m.Items {
			c.item(k, t, &m.Items[i], &seen)
		}
	default:
		if m.List || m.Bare && t != cmcd.BoolType {
			c.wrongType(k, version, m.Value, m)
			return
		}
		c.scalar(k, version, t, m.Value, m)
	}
	c.parameters(m.Name, m.Params)
}

// scalar checks a value, or an item of a list. Of an item m is nil.
func (c *checker) scalar(k cmcd.Key, version int, t cmcd.Type, v sf.Value, m *sf.Member) {
	switch {
	case t == cmcd.BoolType && v.Kind == sf.Boolean:
		c.boolean(k, version, v, m)
	case t == cmcd.TokenType && v.Kind == sf.Token:
		c.checkToken(k, version, v.Text)
	case (t == cmcd.TextType || t == cmcd.TextListType) && v.Kind == sf.String:
		c.checkText(k, version, v.Text)
	case (t == cmcd.NumberType || t == cmcd.NumberListType) && (v.Kind == sf.Integer || v.Kind == sf.Decimal && k == cmcd.KeyPR):
		c.number(k, v)
	case version == 1 && v.Kind == sf.Decimal && v.Int >= 0 && (k == cmcd.KeyBR || k == cmcd.KeyTB):
		c.add(ruleRoundingInteger, k.String(), "%v is %s, expected it rounded to an integer", k, describe(v))
	default:
		c.wrongType(k, version, v, m)
	}
}

func (c *checker) wrongType(k cmcd.Key, version int, v sf.Value, m *sf.Member) {
	want := expected(k, version)
	found := "has " + describe(v) + " in its list"
	switch {
	case m == nil && k.Type() == cmcd.NumberListType:
		want = "integers"
	case m == nil:
		want = "strings in double quotes"
	case m.List:
		found = "is a list"
		if typeIn(k, 2) != typeIn(k, version) && !c.json {
			want += c.orVersion2()
		}
	case m.Bare:
		found = "has no value"
	default:
		found = "is " + describe(v)
	}
	c.add(ruleType, k.String(), "%v %s, expected %s", k, found, want)
}

// describe says what a value is, as it was written.
func describe(v sf.Value) string {
	switch v.Kind {
	case sf.Integer:
		return fmt.Sprintf("the integer %d", v.Int)
	case sf.Decimal:
		return "the decimal " + strconv.FormatFloat(v.Number(), 'f', -1, 64)
	case sf.String:
		return "the string " + short(v.Text)
	case sf.Token:
		return "the token " + clip(v.Text)
	case sf.Boolean:
		return fmt.Sprintf("the boolean %t", v.Bool)
	case sf.Bytes:
		return "a byte sequence"
	default: // of JSON
		return cmp.Or(v.Text, "null")
	}
}

func (c *checker) boolean(k cmcd.Key, version int, v sf.Value, m *sf.Member) {
	switch {
	case v.Bool && !m.Bare && !c.json:
		c.add(ruleBooleanTrue, m.Name, "%v is written as %s, expected the key alone", k, clip(m.Raw))
	case !v.Bool && version == 1:
		c.add(ruleBooleanFalse, m.Name, "%v is false, expected no %v", k, k)
	}
}

func (c *checker) checkToken(k cmcd.Key, version int, token string) {
	switch {
	case !slices.Contains(c.tokensOf(k), token) && (k != cmcd.KeySTA || token != "w"):
		c.add(ruleToken, k.String(), "%v is %s, expected one of %s", k, clip(token), c.tokensIn(k, version))
	case k == cmcd.KeySTA && token == "w":
		c.add(ruleTokenUndefined, "sta", "sta is w, which the specification lists but does not define, expected r for rebuffering or another state")
	case version < 2 && cameWithV2(k, token):
		c.add(ruleToken, k.String(), "%v is %s, which came with version 2, expected one of %s", k, token, c.tokensIn(k, version))
	}
}

func (c *checker) checkText(k cmcd.Key, version int, text string) {
	if limit := k.MaxLength(version); limit > 0 && utf8.RuneCountInString(text) > limit {
		c.add(ruleLength, k.String(), "%v has %d characters, expected at most %d", k, utf8.RuneCountInString(text), limit)
	}
	if text == "" && version == 2 {
		c.add(ruleEmptyText, k.String(), "%v is an empty string, expected no %v if its value is not known", k, k)
		return
	}
	switch k {
	case cmcd.KeyNOR:
		c.path(version, text)
	case cmcd.KeyNRR:
		c.byteRange(k, text)
	case cmcd.KeyCMSDD, cmcd.KeyCMSDS, cmcd.KeySMRT:
		if !rules.IsBase64(text) {
			c.add(ruleBase64, k.String(), "%v is %s, expected the header in Base64", k, short(text))
		}
	default:
	}
}

// path checks an item of nor.
func (c *checker) path(version int, text string) {
	decoded := text
	if version == 1 {
		decoded, _ = unescape(text, false)
	}
	scheme, _, hasScheme := strings.Cut(decoded, ":")
	switch {
	case hasScheme && isScheme(scheme), strings.HasPrefix(decoded, "//"):
		c.add(ruleRelative, "nor", "nor is %s, expected a path relative to the URL of the request", short(text))
		return
	case strings.HasPrefix(decoded, "/"):
		c.add(ruleRelativeSlash, "nor", "nor is %s, expected a path relative to the URL of the request, without a slash in front", short(text))
	}
	if version == 1 && decoded == text && strings.ContainsFunc(text, needsEncoding) {
		c.add(ruleNorEncoded, "nor", "nor is %s, expected it URL-encoded", short(text))
	}
}

// isScheme reports whether s is the scheme of a URL (RFC 3986 §3.1).
func isScheme(s string) bool {
	if s == "" || s[0]|0x20 < 'a' || s[0]|0x20 > 'z' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '+' && r != '-' && r != '.'
	})
}

// byteRange checks the range of nor or nrr.
func (c *checker) byteRange(k cmcd.Key, text string) {
	if !rules.IsRange(text) {
		c.add(ruleByteRange, k.String(), `the range of %v is %s, expected one such as "0-99", "100-" or "-99"`, k, short(text))
	}
}

func (c *checker) number(k cmcd.Key, v sf.Value) {
	n := v.Int
	switch {
	case n < 0 && !rules.MayBeNegative(k) && k != cmcd.KeyV: // v has a rule of its own
		c.add(ruleRange, k.String(), "%v is %d, expected 0 or more", k, n)
	case k == cmcd.KeyRC && n != 0 && (n < 100 || n > 999):
		c.add(ruleRange, "rc", "rc is %d, expected a status code of HTTP, or 0 if there was no response", n)
	case k.RoundTo() == 100 && n%100 != 0:
		c.add(roundingRule(k), k.String(), "%v is %d, expected it rounded to the nearest 100: %d", k, n, (n+50)/100*100)
	case k == cmcd.KeyPR && v.Number() == 1:
		if e, _ := c.token(cmcd.KeyE); e == "pr" { // the rate has changed, and 1 is what it is now
			return
		}
		c.add(ruleNeedless, "pr", "pr is 1, expected no pr: without it the rate is 1")
	}
}

// item checks an item of a list. What the list has had so far is seen.
func (c *checker) item(k cmcd.Key, t cmcd.Type, item *sf.Item, seen *typeSets) {
	c.scalar(k, 2, t, item.Value, nil)
	if t == cmcd.TextListType {
		for i := range item.Params {
			switch p := &item.Params[i]; {
			case p.Name != "r" || k != cmcd.KeyNOR:
				c.parameters(k.String(), item.Params[i:i+1])
			case p.Kind != sf.String:
				c.add(ruleByteRange, "nor", `the range of nor is %s, expected a string such as r="0-99"`, describe(p.Value))
			default:
				c.byteRange(k, p.Text)
			}
		}
		return
	}
	set := 0
	for i := range item.Params {
		p := &item.Params[i]
		objectType := slices.Index(c.tokensOf(cmcd.KeyOT), p.Name)
		set |= 1 << (objectType + 1) // the lowest bit is for what is no object type
		switch {
		case objectType < 0:
			c.add(ruleListType, k.String(), "%v has the parameter %s, expected an object type: %s", k, clip(p.Raw), c.tokensIn(cmcd.KeyOT, 2))
		case p.Kind == sf.Boolean && p.Bool && !p.Bare:
			c.add(ruleBooleanTrue, k.String(), "%v has the parameter %s, expected %s alone", k, clip(p.Raw), p.Name)
		case p.Kind != sf.Boolean || !p.Bool:
			c.add(ruleListType, k.String(), "%v has the parameter %s, expected %s alone", k, clip(p.Raw), p.Name)
		}
	}
	if seen.add(set) && k != cmcd.KeyBSD {
		c.add(ruleDuplicateType, k.String(), "%v has several items for the same object type, expected one", k)
	}
}

// typeSets are sets of object types; there are nine types.
type typeSets [16]uint64

// add adds a set, and reports whether it was there.
func (t *typeSets) add(set int) bool {
	bit := uint64(1) << (set % 64)
	had := t[set/64%len(t)]&bit != 0
	t[set/64%len(t)] |= bit
	return had
}

// parameters checks parameters that have no meaning where they stand.
func (c *checker) parameters(key string, params sf.Params) {
	for _, p := range params {
		c.add(ruleParameter, key, "%s has the parameter %s, expected none", clip(key), clip(p.Raw))
	}
}

// custom checks a key that the specification does not define.
func (c *checker) custom(header cmcd.Header, m *sf.Member) {
	name := clip(m.Name)
	if !rules.IsCustomKey(m.Name) {
		c.add(ruleCustomName, m.Name, "%s is expected to begin with a lower-case letter and to have a hyphen inside, among lower-case letters, digits and _-.*", name)
	}
	registered, isRegistered := cmcd.LookupCustomKey(m.Name)
	prefix, _, _ := strings.Cut(m.Name, "-")
	switch {
	case isRegistered && header != cmcd.NoHeader && header != registered.Header:
		c.add(ruleHeaderCustom, m.Name, "%s is in %v, expected it in %v", name, header, registered.Header)
	case !isRegistered && prefix == "org.svta":
		c.add(ruleCustomShould, m.Name, "%s is not in the registry of the SVTA, expected a registered key or a prefix of your own", name)
	case !strings.Contains(prefix, "."):
		c.add(ruleCustomShould, m.Name, "%s has the prefix %s, expected the name of a domain in reverse, such as com.example", name, clip(prefix))
	}
	if m.Err != nil {
		return
	}
	isText := !m.List && (m.Kind == sf.String || m.Kind == sf.Token)
	found := "a list"
	if !m.List {
		found = describe(m.Value)
	}
	switch {
	case c.json && (m.List || m.Kind == 0):
		c.add(ruleCustomJSON, m.Name, "%s is %s, expected a string, a number or a boolean", name, found)
	case !isText && c.version == 2:
		c.add(ruleCustomType, m.Name, "%s is %s, expected a string or a token", name, found)
	case isText && utf8.RuneCountInString(m.Text) > 64:
		c.add(ruleCustomLength, m.Name, "%s has %d characters, expected at most 64", name, utf8.RuneCountInString(m.Text))
	case isRegistered && (m.List || m.Kind != sf.String):
		c.add(ruleCustomShould, m.Name, "%s is %s, expected a string: it is registered as one", name, found)
	}
	c.parameters(m.Name, m.Params)
}
