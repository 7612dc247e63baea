package validate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/sf"
)

// part is a record, or what one header has of it.
type part struct {
	header  cmcd.Header // NoHeader if the record is not sharded
	members []sf.Member
	errs    []*sf.SyntaxError
}

// checker collects issues.
type checker struct {
	options Options
	json    bool
	issues  []Issue

	// Of the record that is being checked:
	at      int // its index
	version int
	last    map[string]found
}

// found is what the record has of a name: of several members the last, which counts, and how many.
type found struct {
	*sf.Member
	count int
}

func (c *checker) full() bool { return len(c.issues) >= MaxIssues }

// add notes an issue.
func (c *checker) add(id int, key, format string, args ...any) {
	section := rules[id].v2
	if c.version == 1 || section == "" {
		section = cmp.Or(rules[id].v1, section)
		if c.json {
			section = cmp.Or(jsonSections[id], section)
		}
	}
	c.addIn(section, id, key, format, args...)
}

// addIn notes an issue with a section of its own.
func (c *checker) addIn(section string, id int, key, format string, args ...any) {
	if len(c.issues) == MaxIssues-1 {
		id, section, key, format, args = ruleTooMany, "", "", "there are more issues than %d, the rest was not looked at", []any{MaxIssues - 1}
	}
	if c.full() {
		return
	}
	c.issues = append(c.issues, Issue{
		Record: c.at, Key: clip(key), Rule: rules[id].word, Section: section, Severity: rules[id].severity,
		Message: fmt.Sprintf(format, args...),
	})
}

// record checks a record, in one part or in its headers.
func (c *checker) record(parts []part) {
	c.last = map[string]found{}
	c.version = 0
	for p := range parts {
		for i := range parts[p].members {
			if m := &parts[p].members[i]; m.Name != "" {
				c.last[m.Name] = found{m, c.last[m.Name].count + 1}
			}
		}
	}
	known := c.findVersion()
	for _, p := range parts {
		for _, err := range p.errs {
			c.syntax(p.header, err)
		}
	}
	if !known { // nobody can know what the keys mean
		return
	}
	for _, p := range parts {
		for i := range p.members {
			m := &p.members[i]
			if m.Name == "" || c.last[m.Name].Member != m {
				continue
			}
			if n := c.last[m.Name].count; n > 1 {
				c.add(ruleDuplicate, m.Name, "%s comes %d times, expected once; servers take the last one", clip(m.Name), n)
			}
			c.member(p.header, m)
		}
		c.order(p)
	}
	c.together()
	c.event()
}

func (c *checker) syntax(header cmcd.Header, err *sf.SyntaxError) {
	in := ""
	if header != cmcd.NoHeader {
		in = " of " + header.String()
	}
	c.addIn(err.Section, ruleSyntax, err.Key, "at byte %d%s: found %s, expected %s", err.Offset, in, err.Found, err.Want)
}

// findVersion finds out which version the record is to be held against; false if it is none that is
// known.
func (c *checker) findVersion() bool {
	v, has := c.last["v"]
	good := has && v.Err == nil && !v.List && v.Kind == sf.Integer
	switch {
	case good && v.Int >= 1 && v.Int <= 2:
		c.version = int(v.Int)
	case has, c.options.Mode == cmcd.EventMode: // who sends v, or reports, means version 2
		c.version = 2
	default:
		c.version = 1
	}
	said := c.version
	if c.options.Version > 0 {
		c.version = min(c.options.Version, 2)
	}
	switch {
	case good && (v.Int < 1 || v.Int > 2):
		c.add(ruleVersion, "v", "v is %d, expected 1 or 2; servers ignore records of versions that they do not know", v.Int)
		return false
	case good && c.json && said != 1:
		c.add(ruleVersion, "v", "v is %d, expected records rather than JSON, which only version 1 has", v.Int)
	case good && said == 1 && c.options.Mode == cmcd.EventMode:
		c.version = 2
		c.add(ruleVersion, "v", "v is 1, expected 2: version 1 has no reports")
	case good && said != c.version:
		c.add(ruleVersion, "v", "v is %d, expected %d", v.Int, c.version)
	case good && said == 1:
		c.add(ruleNeedless, "v", "v is 1, expected no v: without it the version is 1")
	case !has && c.version == 2:
		c.addIn(table1, ruleMissing, "v", "v is missing, expected v=2")
	}
	return true
}

// order checks that the keys are in alphabetical order.
func (c *checker) order(p part) {
	for i := 1; i < len(p.members); i++ {
		if a, b := p.members[i-1].Name, p.members[i].Name; a != "" && b != "" && b < a {
			c.add(ruleOrder, b, "%s comes after %s, expected alphabetical order", clip(b), clip(a))
			return
		}
	}
}

// together checks what keys say of each other.
func (c *checker) together() {
	if c.version == 2 {
		for _, pair := range notWith {
			if c.has(pair.key) && c.has(pair.other) {
				c.add(ruleNotWith, pair.key.String(), "%v is sent together with %v, expected only %v where it is known", pair.key, pair.other, pair.other)
			}
		}
		if c.has(cmcd.KeyTPB) {
			c.add(rulePrivacy, "tpb", "tpb is sent, expected it only where the application has asked for it: it helps to recognise a viewer")
		}
	}
	if ot, ok := c.token(cmcd.KeyOT); ok && slices.Contains(cmcd.KeyOT.Tokens(), ot) {
		for _, rule := range objectTypes {
			if !rule.versions[c.version-1] || rule.request && c.options.Mode == cmcd.EventMode {
				continue
			}
			if c.has(rule.key) && !slices.Contains(rule.types, ot) {
				c.add(rule.rule, rule.key.String(), "%v is sent with ot=%s, expected it only for objects of type %s",
					rule.key, clip(ot), strings.Join(rule.types, ", "))
			}
		}
	}
	if c.options.Mode == cmcd.RequestMode && !c.json && !c.has(cmcd.KeySID) {
		c.add(ruleSession, "sid", "sid is missing, expected it on all requests of a session")
	}
}

// event checks what an event wants to have with it. It looks at e even where e is out of place, which
// is another issue.
func (c *checker) event() {
	if c.options.Mode == cmcd.EventMode {
		for _, k := range []cmcd.Key{cmcd.KeyE, cmcd.KeyTS} {
			if !c.has(k) {
				c.add(ruleMissing, k.String(), "%v is missing, expected it in every report", k)
			}
		}
	}
	e, ok := c.token(cmcd.KeyE)
	if !ok {
		return
	}
	if partner, ok := partners[e]; ok && !c.has(partner) {
		c.add(rulePartner, partner.String(), "%v is missing, expected it with e=%s", partner, e)
	}
	for k := range cmcd.AllKeys() {
		if event, ok := onlyWith(k); ok && c.has(k) && e != event {
			c.add(ruleEvent, k.String(), "%v is sent with e=%s, expected it only with e=%s", k, clip(e), event)
		}
	}
}

// has reports whether the record has the key, be its value good or bad.
func (c *checker) has(k cmcd.Key) bool {
	_, ok := c.last[k.String()]
	return ok
}

// token returns the token that the key has.
func (c *checker) token(k cmcd.Key) (string, bool) {
	m, ok := c.last[k.String()]
	if !ok || m.Err != nil || m.List || m.Kind != sf.Token {
		return "", false
	}
	return m.Text, true
}

const longest = 48

// clip makes fit for a message what the input can make long or, in JSON, unprintable.
func clip(s string) string {
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// short is a text of the input for a message, in quotes.
func short(s string) string {
	if len(s) > longest {
		return strconv.Quote(strings.ToValidUTF8(s[:longest], "")) + "…"
	}
	return strconv.Quote(s)
}
