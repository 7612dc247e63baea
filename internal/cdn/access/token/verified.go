package token

import (
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/cmcd"
)

// MaxBytes bounds the text of a token: what is longer is not read.
const MaxBytes = 8 << 10

// Request is one request, as claims are held against it.
type Request struct {
	Method string
	// Scheme is http or https, Host the name that was asked, with its port if it was given.
	Scheme, Host string
	// RawPath is the path as it came; Path what it means: decoded, without dot segments and empty ones.
	RawPath, Path string
	RawQuery      string
	Header        http.Header
	Client        netip.Addr
	Now           time.Time
	// Whereabouts tells where an address is; nil if nobody knows.
	Whereabouts func(netip.Addr) Whereabouts
}

// Whereabouts is where an address is, as far as it is known.
type Whereabouts struct {
	Country      string   // ISO 3166-1 alpha-2: "SE"
	Subdivisions []string // ISO 3166-2, with the country: "SE-AB"
	ASN          uint32   // the autonomous system; 0 if it is not known
}

// CleanPath returns what the path of a request line means: decoded, without dot segments and empty ones,
// with the last slash it had. It is false for what cannot be a path.
func CleanPath(raw string) (string, bool) {
	if len(raw) == 0 || raw[0] != '/' {
		return "", false
	}
	if plainPath(raw) {
		return raw, true
	}
	decoded, err := url.PathUnescape(raw)
	if err != nil {
		return "", false
	}
	clean := path.Clean(decoded)
	if strings.HasSuffix(decoded, "/") && clean != "/" {
		clean += "/"
	}
	return clean, true
}

// plainPath reports whether p, which begins with a slash, is clean and has no escape.
func plainPath(p string) bool {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '%':
			return false
		case '/', '.':
			if i > 0 && p[i-1] == '/' {
				return false // an empty segment or one that begins with a dot, which is looked at closely
			}
		}
	}
	return true
}

// Verified is a token whose signature is right. It may be kept: all that can change is asked of it by Check.
type Verified struct {
	// KeyID names the key that it is signed with.
	KeyID string
	// Issuer, Subject, Session, Tenant and ID are what it says of the viewer and itself; "" where it says
	// nothing.
	Issuer, Subject, Session, Tenant, ID string
	// NotBefore and Expires bound the time in which it is good, in seconds since 1970; 0 where it does not.
	NotBefore, Expires int64
	// Once is set if it is good for one request only.
	Once bool
	// Prefix is the part of the paths that it is good for, "" if that cannot be said in this way.
	Prefix string

	paths      []string // prefixes if they end in a slash, else whole paths; nil: any
	addresses  []netip.Prefix
	asns       []uint32
	networks   bool // addresses or asns must match
	methods    []string
	places     []string
	resource   string // CloudFront's Resource with wildcards; "" if the signature binds it
	components []component
	headers    []headerMatch
}

// Bytes estimates the memory that the token takes while it is kept.
func (v *Verified) Bytes() int {
	n := 400 + len(v.KeyID) + len(v.Issuer) + len(v.Subject) + len(v.Session) + len(v.Tenant) + len(v.ID) + len(v.resource)
	for _, list := range [][]string{v.paths, v.methods, v.places} {
		for _, s := range list {
			n += 16 + len(s)
		}
	}
	return n + 32*len(v.addresses) + 4*len(v.asns) + 1024*len(v.components) + 1024*len(v.headers)
}

// Check holds what the token claims against r. Clocks may be apart by skew.
func (v *Verified) Check(r *Request, skew time.Duration) error {
	now, allowed := r.Now.Unix(), int64(skew/time.Second)
	if v.Expires != 0 && now-allowed >= v.Expires {
		return refuse(Expired, "it was good until %s", moment(v.Expires))
	}
	if v.NotBefore != 0 && now+allowed < v.NotBefore {
		return refuse(Early, "it is good from %s", moment(v.NotBefore))
	}
	if v.paths != nil && !v.covers(r.Path) {
		return refuse(Scope, "%s is not in %q", r.Path, v.paths)
	}
	if v.resource != "" {
		if err := v.checkResource(r); err != nil {
			return err
		}
	}
	if v.networks && !v.inNetworks(r) {
		return refuse(Address, "%s is not in the networks that it is good for", r.Client)
	}
	if v.methods != nil && !slices.Contains(v.methods, r.Method) {
		return refuse(Method, "%s is not one of %q", r.Method, v.methods)
	}
	if v.places != nil && !v.inPlaces(r) {
		return refuse(Place, "%s is not known to be in one of %q", r.Client, v.places)
	}
	for i := range v.components {
		if err := v.components[i].check(r); err != nil {
			return err
		}
	}
	for i := range v.headers {
		if err := v.headers[i].check(r); err != nil {
			return err
		}
	}
	return nil
}

func moment(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

func (v *Verified) covers(p string) bool {
	for _, scope := range v.paths {
		if p == scope || strings.HasSuffix(scope, "/") && strings.HasPrefix(p, scope) {
			return true
		}
	}
	return false
}

func (v *Verified) inNetworks(r *Request) bool {
	for _, p := range v.addresses {
		if p.Contains(r.Client) {
			return true
		}
	}
	return len(v.asns) > 0 && r.Whereabouts != nil && slices.Contains(v.asns, r.Whereabouts(r.Client).ASN)
}

func (v *Verified) inPlaces(r *Request) bool {
	if r.Whereabouts == nil {
		return false
	}
	where := r.Whereabouts(r.Client)
	return slices.ContainsFunc(v.places, func(p string) bool {
		return p == where.Country && p != "" || slices.Contains(where.Subdivisions, p)
	})
}

// restQuery returns the query without CMCD and without the arguments in names, all else as it came.
func restQuery(raw string, names ...string) string {
	return WithoutArguments(cmcd.StripQuery(raw), names...)
}

// Argument returns the argument of a query as it came, not decoded, and how often there is one of this name.
func Argument(rawQuery, name string) (value string, count int) {
	if len(rawQuery) <= len(name) {
		return "", 0
	}
	for rest := rawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if len(pair) > len(name) && pair[len(name)] == '=' && pair[:len(name)] == name {
			if count++; count == 1 {
				value = pair[len(name)+1:]
			}
		}
	}
	return value, count
}

// WithoutArguments returns the query without the arguments in names, all else as it came.
func WithoutArguments(rawQuery string, names ...string) string {
	found := false
	for _, name := range names {
		if strings.Contains(rawQuery, name) {
			found = true
			break
		}
	}
	if !found {
		return rawQuery
	}
	var out strings.Builder
	first := true
	for pair := range strings.SplitSeq(rawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(names, name) {
			continue
		}
		if !first {
			out.WriteByte('&')
		}
		out.WriteString(pair)
		first = false
	}
	return out.String()
}
