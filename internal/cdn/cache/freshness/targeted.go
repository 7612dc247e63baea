package freshness

import (
	"time"

	"github.com/dunglas/httpsfv"
)

// parseTargeted parses the values of a targeted field (RFC 9213 §2.1): a Dictionary whose members are
// response directives. It is false if the field is to be ignored: because it is empty, does not parse,
// or has a directive with a value of the wrong type.
func parseTargeted(lines []string) (control, bool) {
	var c control
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dictionary.Names()) == 0 {
		return c, false
	}
	for _, name := range dictionary.Names() {
		member, _ := dictionary.Get(name)
		var value any // nil: an inner list, which no directive known here has
		if item, ok := member.(httpsfv.Item); ok {
			value = item.Value
		}
		if !c.setTargeted(name, value) {
			return control{}, false
		}
	}
	return c, true
}

// setTargeted takes one directive; false if its value has the wrong type.
func (c *control) setTargeted(name string, value any) bool {
	switch name {
	case "no-store":
		return setFlag(&c.noStore, value)
	case "no-cache":
		return c.setQualified(&c.noCache, value)
	case "private":
		return c.setQualified(&c.private, value)
	case "public":
		return setFlag(&c.public, value)
	case "must-revalidate":
		return setFlag(&c.mustRevalidate, value)
	case "proxy-revalidate":
		return setFlag(&c.proxyRevalidate, value)
	case "must-understand":
		return setFlag(&c.mustUnderstand, value)
	case "max-age":
		return setSeconds(&c.maxAge, value)
	case "s-maxage":
		return setSeconds(&c.sharedMaxAge, value)
	case "stale-if-error":
		return setSeconds(&c.staleIfError, value)
	case "stale-while-revalidate":
		return setSeconds(&c.staleWhileRevalidate, value)
	}
	return true
}

// setFlag takes a directive that has no value. One that is false is none that RFC 9111 knows.
func setFlag(flag *bool, value any) bool {
	*flag = value == true
	return *flag
}

// setQualified takes no-cache or private, which may name the fields that they are meant for.
func (c *control) setQualified(flag *bool, value any) bool {
	var list string
	switch v := value.(type) {
	case string:
		list = v
	case httpsfv.Token:
		list = string(v)
	default:
		return setFlag(flag, value)
	}
	names, ok := fieldNames(list)
	if ok {
		c.hidden = append(c.hidden, names...)
	}
	*flag = !ok
	return true
}

// setSeconds takes a directive whose value is delta-seconds, which is an Integer here.
func setSeconds(v *delta, value any) bool {
	n, ok := value.(int64)
	if !ok {
		return false
	}
	v.set(time.Duration(min(max(n, 0), int64(maxSeconds))) * time.Second)
	return true
}
