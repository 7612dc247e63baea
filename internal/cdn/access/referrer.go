package access

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// check holds the page that a request comes from against the hosts. A request that has both fields must be
// right in both. "null" is what browsers say for pages that have no origin, which is nothing (RFC 6454 §7.3).
func (r *ReferrerConfig) check(h http.Header) Reason {
	said := false
	for _, field := range []string{"Origin", "Referer"} {
		values := h[field]
		if len(values) == 0 || values[0] == "" || values[0] == "null" {
			continue
		}
		said = true
		if len(values) > 1 {
			return Referrer
		}
		u, err := url.Parse(values[0])
		if err != nil || !r.matches(strings.ToLower(u.Hostname())) {
			return Referrer
		}
	}
	if !said && !r.AllowEmpty {
		return Referrer
	}
	return ""
}

func (r *ReferrerConfig) matches(host string) bool {
	host = strings.TrimSuffix(host, ".")
	return host != "" && slices.ContainsFunc(r.Hosts, func(pattern string) bool {
		below, wild := strings.CutPrefix(pattern, "*")
		return !wild && host == pattern || wild && len(host) > len(below) && strings.HasSuffix(host, below)
	})
}
