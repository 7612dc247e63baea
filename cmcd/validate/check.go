package validate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/weir-stream/weir/cmcd"
	"github.com/weir-stream/weir/cmcd/internal/rules"
	"github.com/weir-stream/weir/cmcd/internal/sf"
)

// part is a record, or what one header has of it.
type part struct {
	header  cmcd.Header // NoHeader if the record is not sharded
	text    string      // of a header
	members []sf.Member
	errs    []*sf.SyntaxError
}

// checker collects issues.
type checker struct {
	options Options
	json    bool
	issues  []Issue
	// early are the issues that were found before the version was known, which decides on the section.
	early  []earlyIssue
	tokens map[cmcd.Key][]string // those that were asked for

	// Of the record that is being checked. The memory is used again for the next one.
	at      int // its index
	version int // 0 as long as it is not known
	parser  sf.Parser
	sorted  []*sf.Member // by name, and those of one name in the order of the text
	members []sf.Member  // of JSON
	items   []sf.Item    // of JSON
}

// earlyIssue is an issue of a rule.
type earlyIssue struct{ issue, rule int }

func (c *checker) full() bool { return len(c.issues) >= MaxIssues }

// add notes an issue.
func (c *checker) add(id int, key, format string, args ...any) {
	if c.version == 0 && len(c.issues) < MaxIssues-1 {
		c.early = append(c.early, earlyIssue{len(c.issues), id})
	}
	c.addIn(c.section(id), id, key, format, args...)
}

// section returns where the version says what rule id is; as long as that is not known, version 2.
func (c *checker) section(id int) string {
	section := ruleTable[id].v2
	if c.version == 1 || section == "" {
		section = cmp.Or(ruleTable[id].v1, section)
		if c.json {
			section = cmp.Or(jsonSection(id), section)
		}
	}
	return section
}

// knowVersion gives the sections of the version to what was found before.
func (c *checker) knowVersion() {
	for _, e := range c.early {
		c.issues[e.issue].Section = c.section(e.rule)
	}
	c.early = c.early[:0]
}

// addIn notes an issue with a section of its own.
func (c *checker) addIn(section string, id int, key, format string, args ...any) {
	if len(c.issues) == MaxIssues-1 {
		id, section, key, format, args = ruleTooMany, "", "", "there are more issues than %d, the rest was not looked at", []any{MaxIssues - 1}
	}
	if c.full() {
		return
	}
	if n := len(c.issues); n == cap(c.issues) { // in few steps, so that little is thrown away on the way
		c.issues = slices.Grow(c.issues, min(max(4, 3*n), MaxIssues-n))
	}
	c.issues = append(c.issues, Issue{
		Record: c.at, Key: clip(key), Rule: ruleTable[id].word, Section: section, Severity: ruleTable[id].severity,
		Message: fmt.Sprintf(format, args...),
	})
}

// record checks a record, in one part or in its headers.
func (c *checker) record(parts []part) {
	c.version = 0
	c.sort(parts)
	known := c.findVersion()
	c.knowVersion()
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
			if m.Name == "" {
				continue
			}
			last, n := c.find(m.Name)
			if last != m { // of several, the last one counts
				continue
			}
			if n > 1 {
				c.add(ruleDuplicate, m.Name, "%s comes %d times, expected once; servers take the last one", clip(m.Name), n)
			}
			c.member(p.header, m)
		}
		c.order(p)
	}
	c.together()
	c.event()
}

// sort sorts the members that have a name.
func (c *checker) sort(parts []part) {
	c.sorted = c.sorted[:0]
	for p := range parts {
		for i := range parts[p].members {
			if m := &parts[p].members[i]; m.Name != "" {
				c.sorted = sf.Add(c.sorted, m)
			}
		}
	}
	slices.SortStableFunc(c.sorted, func(a, b *sf.Member) int { return strings.Compare(a.Name, b.Name) })
}

// find returns the last member of that name, which is the one that counts, and how many there are; nil if
// there is none.
func (c *checker) find(name string) (last *sf.Member, n int) {
	compare := func(m *sf.Member, name string) int { return strings.Compare(m.Name, name) }
	i, ok := slices.BinarySearchFunc(c.sorted, name, compare)
	if !ok {
		return nil, 0
	}
	for ; i < len(c.sorted) && c.sorted[i].Name == name; i++ {
		last = c.sorted[i]
		n++
	}
	return last, n
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
	v, n := c.find("v")
	has := n > 0
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
		for k := range cmcd.AllKeys() {
			if other, ok := rules.NotWith(k); ok && c.has(k) && c.has(other) {
				c.add(ruleNotWith, k.String(), "%v is sent together with %v, expected only %v where it is known", k, other, other)
			}
		}
		if c.has(cmcd.KeyTPB) {
			c.add(rulePrivacy, "tpb", "tpb is sent, expected it only where the application has asked for it: it helps to recognise a viewer")
		}
	}
	if ot, ok := c.token(cmcd.KeyOT); ok {
		for k := range cmcd.AllKeys() {
			if !c.has(k) {
				continue
			}
			if ok, types, must := rules.ForType(k, c.version, c.options.Mode, ot); !ok {
				id := ruleObjectTypeShould
				if must {
					id = ruleObjectTypeMust
				}
				c.add(id, k.String(), "%v is sent with ot=%s, expected it only for objects of type %s", k, clip(ot), strings.Join(types, ", "))
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
		for _, k := range [...]cmcd.Key{cmcd.KeyE, cmcd.KeyTS} {
			if !c.has(k) {
				c.add(ruleMissing, k.String(), "%v is missing, expected it in every report", k)
			}
		}
	}
	e, ok := c.token(cmcd.KeyE)
	if !ok {
		return
	}
	if partner, need, ok := rules.Partner(e); ok && !c.has(partner) {
		switch need {
		case rules.Must, rules.Telling:
			c.add(rulePartner, partner.String(), "%v is missing, expected it with e=%s", partner, e)
		case rules.Should:
			c.add(rulePartnerShould, partner.String(), "%v is missing, expected it with e=%s: the report does not say what has changed", partner, e)
		case rules.Implied:
		}
	}
	for k := range cmcd.AllKeys() {
		if event, ok := rules.OnlyWith(k); ok && c.has(k) && e != event {
			c.add(ruleEvent, k.String(), "%v is sent with e=%s, expected it only with e=%s", k, clip(e), event)
		}
	}
}

// has reports whether the record has the key, be its value good or bad.
func (c *checker) has(k cmcd.Key) bool {
	_, n := c.find(k.String())
	return n > 0
}

// token returns the token that the key has.
func (c *checker) token(k cmcd.Key) (string, bool) {
	m, n := c.find(k.String())
	if n == 0 || m.Err != nil || m.List || m.Kind != sf.Token {
		return "", false
	}
	return m.Text, true
}

// tokensOf returns the tokens of key k.
func (c *checker) tokensOf(k cmcd.Key) []string {
	tokens, ok := c.tokens[k]
	if !ok {
		if c.tokens == nil {
			c.tokens = map[cmcd.Key][]string{}
		}
		tokens = k.Tokens()
		c.tokens[k] = tokens
	}
	return tokens
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
