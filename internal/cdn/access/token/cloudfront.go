package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // CloudFront's default; an operator can ask for SHA-256 alone
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// The arguments of a CloudFront signed URL. A signed cookie has the same names after "CloudFront-".
const (
	cfExpires   = "Expires"
	cfPolicy    = "Policy"
	cfSignature = "Signature"
	cfKeyPairID = "Key-Pair-Id"
	cfHash      = "Hash-Algorithm"

	// CloudFrontCookiePrefix begins the names of CloudFront's cookies.
	CloudFrontCookiePrefix = "CloudFront-"
)

// CloudFrontArguments returns the names of the arguments of signed URLs.
func CloudFrontArguments() []string {
	return []string{cfExpires, cfPolicy, cfSignature, cfKeyPairID, cfHash}
}

// CloudFront is what a signed URL or signed cookies say.
type CloudFront struct {
	Expires, Policy, Signature, KeyPairID, Hash string
}

// CloudFrontOfQuery returns what the query says, and false if there is no signed URL.
func CloudFrontOfQuery(rawQuery string) (CloudFront, bool, error) {
	return cloudFrontOf(func(name string) (string, int) { return Argument(rawQuery, name) })
}

// CloudFrontOfCookies returns what cookies say, and false if there are no signed ones. cookie returns the
// value of the cookie with a name and how many there are.
func CloudFrontOfCookies(cookie func(name string) (string, int)) (CloudFront, bool, error) {
	return cloudFrontOf(func(name string) (string, int) { return cookie(CloudFrontCookiePrefix + name) })
}

func cloudFrontOf(get func(string) (string, int)) (c CloudFront, found bool, err error) {
	for _, part := range []struct {
		name string
		to   *string
	}{
		{cfSignature, &c.Signature}, {cfKeyPairID, &c.KeyPairID}, {cfPolicy, &c.Policy}, {cfExpires, &c.Expires}, {cfHash, &c.Hash},
	} {
		value, n := get(part.name)
		if n > 1 {
			return c, true, refuse(Malformed, "%s is there %d times", part.name, n)
		}
		*part.to = value
	}
	return c, c.Signature != "" || c.Policy != "", nil
}

// CloudFrontKeys check signed URLs and cookies: public keys by key pair identifier.
type CloudFrontKeys struct {
	Keys map[string]Key
	// SHA256Only refuses signatures over SHA-1.
	SHA256Only bool
}

// cloudFrontBase64 is base64 with the characters that a query has no room for replaced.
var (
	toCloudFront   = strings.NewReplacer("+", "-", "=", "_", "/", "~")
	fromCloudFront = strings.NewReplacer("-", "+", "_", "=", "~", "/")
)

func decodeCloudFront(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n+=/") {
		return nil, errors.New("it has a character that is replaced")
	}
	return base64.StdEncoding.Strict().DecodeString(fromCloudFront.Replace(text))
}

// Resource returns the address of a request as a signed URL has it: with all of its query that is not the
// signature's, as it came.
func Resource(scheme, host, rawPath, rawQuery string) string {
	resource := scheme + "://" + host + rawPath
	if rest := WithoutArguments(rawQuery, cfExpires, cfPolicy, cfSignature, cfKeyPairID, cfHash); rest != "" {
		resource += "?" + rest
	}
	return resource
}

// cannedPolicy is the text that is signed where only an expiry is given, byte for byte.
func cannedPolicy(resource, expires string) []byte {
	return []byte(`{"Statement":[{"Resource":"` + resource + `","Condition":{"DateLessThan":{"AWS:EpochTime":` + expires + `}}}]}`)
}

// Verify reads what a request for resource has. With a canned policy the signature binds the resource, so
// that what is returned is for that resource alone.
func (k CloudFrontKeys) Verify(c CloudFront, resource string) (*Verified, error) {
	for _, text := range []string{c.Expires, c.Policy, c.Signature, c.KeyPairID} {
		if len(text) > MaxBytes {
			return nil, refuse(Malformed, "it has more than %d bytes", MaxBytes)
		}
	}
	if c.Signature == "" || c.KeyPairID == "" || (c.Policy == "") == (c.Expires == "") {
		return nil, refuse(Malformed, "Signature, Key-Pair-Id and one of Policy and Expires are expected")
	}
	var hash crypto.Hash
	switch c.Hash {
	case "", "SHA1":
		if hash = crypto.SHA1; k.SHA256Only {
			return nil, refuse(Algorithm, "it is signed over SHA-1; SHA-256 is asked for")
		}
	case "SHA256":
		hash = crypto.SHA256
	default:
		return nil, refuse(Algorithm, "the hash is %q; SHA1 or SHA256 is expected", c.Hash)
	}
	key, ok := k.Keys[c.KeyPairID]
	if !ok {
		return nil, refuse(UnknownKey, "there is no key %q", c.KeyPairID)
	}
	signature, err := decodeCloudFront(c.Signature)
	if err != nil {
		return nil, refuse(Malformed, "Signature is not base64 of CloudFront's kind")
	}
	v := &Verified{KeyID: c.KeyPairID}
	var policy []byte
	if c.Policy != "" {
		if policy, err = decodeCloudFront(c.Policy); err != nil {
			return nil, refuse(Malformed, "Policy is not base64 of CloudFront's kind")
		}
	} else {
		if v.Expires, err = seconds(c.Expires); err != nil {
			return nil, refuse(Malformed, "Expires is %q: %v", c.Expires, err)
		}
		policy = cannedPolicy(resource, c.Expires)
	}
	if !verifyCloudFront(key.Public, hash, policy, signature) {
		if c.Policy == "" {
			return nil, refuse(Signature, "the key %q has not signed %s until %s; an argument that a player adds, such as CMCD, changes what is signed", c.KeyPairID, resource, c.Expires)
		}
		return nil, refuse(Signature, "the key %q has not signed the policy", c.KeyPairID)
	}
	if c.Policy != "" {
		if err := v.readPolicy(policy); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// CloudFrontTakes reports whether signed URLs can be signed with such a key.
func CloudFrontTakes(k Key) bool {
	switch key := k.Public.(type) {
	case *rsa.PublicKey:
		return true
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256()
	}
	return false
}

func verifyCloudFront(key crypto.PublicKey, hash crypto.Hash, text, signature []byte) bool {
	digest := digestOf(hash, text)
	switch key := key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256() && ecdsa.VerifyASN1(key, digest, signature)
	}
	return false
}

func digestOf(hash crypto.Hash, text []byte) []byte {
	if hash == crypto.SHA1 {
		sum := sha1.Sum(text)
		return sum[:]
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// epoch is a time in a policy.
type epoch struct {
	Seconds int64 `json:"AWS:EpochTime"`
}

type policyCondition struct {
	IPAddress *struct {
		SourceIP string `json:"AWS:SourceIp"`
	} `json:"IpAddress,omitempty"`
	DateGreaterThan *epoch `json:"DateGreaterThan,omitempty"`
	DateLessThan    *epoch `json:"DateLessThan"`
}

type policyStatement struct {
	Resource  string          `json:"Resource"`
	Condition policyCondition `json:"Condition"`
}

type policyDocument struct {
	Statement []policyStatement `json:"Statement"`
}

// readPolicy takes over what a custom policy says. It has one statement; what is not known is refused.
func (v *Verified) readPolicy(text []byte) error {
	var document policyDocument
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&document); err != nil {
		return refuse(Claim, "the policy cannot be read: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return refuse(Claim, "something follows the policy")
	}
	if n := len(document.Statement); n != 1 {
		return refuse(Claim, "the policy has %d statements; one is expected", n)
	}
	statement := document.Statement[0]
	condition := statement.Condition
	switch {
	case statement.Resource == "":
		return refuse(Claim, "the policy has no Resource")
	case condition.DateLessThan == nil || condition.DateLessThan.Seconds <= 0 || condition.DateLessThan.Seconds > maxSeconds:
		return refuse(Claim, "the policy has no DateLessThan in seconds since 1970")
	}
	v.resource, v.Expires = statement.Resource, condition.DateLessThan.Seconds
	if after := condition.DateGreaterThan; after != nil {
		if after.Seconds < 0 || after.Seconds > maxSeconds {
			return refuse(Claim, "DateGreaterThan is not in seconds since 1970")
		}
		v.NotBefore = after.Seconds
	}
	if condition.IPAddress != nil {
		p, err := networkOf(condition.IPAddress.SourceIP)
		if err != nil {
			return refuse(Claim, "AWS:SourceIp: %v", err)
		}
		// 0.0.0.0/0 is CloudFront's word for everybody.
		if v.networks = p != netip.PrefixFrom(netip.IPv4Unspecified(), 0); v.networks {
			v.addresses = []netip.Prefix{p}
		}
	}
	v.Prefix = literalPrefix(v.resource)
	return nil
}

func networkOf(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is not an address or a prefix", text)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an address or a prefix", text)
	}
	return p.Masked(), nil
}

// literalPrefix returns the paths that a Resource of the form scheme://host/prefix/* is for, else "".
func literalPrefix(resource string) string {
	_, rest, ok := strings.Cut(resource, "://")
	start := strings.IndexByte(rest, '/')
	if !ok || start < 0 {
		return ""
	}
	prefix, ok := strings.CutSuffix(rest[start:], "*")
	if !ok || !strings.HasSuffix(prefix, "/") || strings.ContainsAny(prefix, "*?%") {
		return ""
	}
	return prefix
}

// checkResource holds the address of the request against the policy's. A path that has more than one
// spelling is refused: "*" would match one spelling and another would be served.
func (v *Verified) checkResource(r *Request) error {
	resource := Resource(r.Scheme, r.Host, r.RawPath, r.RawQuery)
	if !Wildcard(v.resource, resource) {
		return refuse(Scope, "%s is not in %s", resource, v.resource)
	}
	if r.RawPath != r.Path && !escapedSpelling(r.RawPath, r.Path) {
		return refuse(Scope, "%s has dot segments or empty ones", r.RawPath)
	}
	return nil
}

// escapedSpelling reports whether raw is clean but for escapes, none of which hides a slash.
func escapedSpelling(raw, clean string) bool {
	decoded, err := url.PathUnescape(raw)
	return err == nil && decoded == clean && strings.Count(raw, "/") == strings.Count(clean, "/")
}

// Wildcard reports whether text matches pattern, in which * stands for any characters and ? for one; both
// match slashes and question marks, as they do at CloudFront. It takes time in proportion to both lengths
// at most.
func Wildcard(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// CloudFrontClaims is what a signed URL or signed cookies are to say.
type CloudFrontClaims struct {
	// Resource is the address; with a custom policy it may have the wildcards * and ?.
	Resource  string
	Expires   time.Time
	NotBefore time.Time
	Address   netip.Prefix
	// Custom asks for a custom policy also where a canned one would do.
	Custom bool
	SHA256 bool
}

// Sign returns what says c, signed with the private key whose public half has the identifier id.
func (c CloudFrontClaims) Sign(id string, key crypto.Signer) (CloudFront, error) {
	if !CloudFrontTakes(Key{Public: key.Public()}) {
		return CloudFront{}, errors.New("the key is neither RSA nor ECDSA on P-256")
	}
	if id == "" || strings.ContainsAny(id, "&=;, \"") {
		return CloudFront{}, fmt.Errorf("the key's identifier is %q; one that needs no escapes is expected", id)
	}
	if strings.ContainsAny(c.Resource, "\"\\") || !strings.Contains(c.Resource, "://") && c.Resource != "*" {
		return CloudFront{}, fmt.Errorf("the resource is %q; an address is expected", c.Resource)
	}
	result := CloudFront{KeyPairID: id}
	hash := crypto.SHA1
	if c.SHA256 {
		hash, result.Hash = crypto.SHA256, "SHA256"
	}
	var text []byte
	if !c.Custom && c.NotBefore.IsZero() && !c.Address.IsValid() {
		result.Expires = fmt.Sprint(c.Expires.Unix())
		text = cannedPolicy(c.Resource, result.Expires)
	} else {
		condition := policyCondition{DateLessThan: &epoch{c.Expires.Unix()}}
		if !c.NotBefore.IsZero() {
			condition.DateGreaterThan = &epoch{c.NotBefore.Unix()}
		}
		if c.Address.IsValid() {
			condition.IPAddress = &struct {
				SourceIP string `json:"AWS:SourceIp"`
			}{c.Address.Masked().String()}
		}
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false) // the & of a resource stays one
		if err := encoder.Encode(policyDocument{[]policyStatement{{c.Resource, condition}}}); err != nil {
			return CloudFront{}, err
		}
		text = bytes.TrimSpace(out.Bytes())
		result.Policy = encodeCloudFront(text)
	}
	signature, err := key.Sign(rand.Reader, digestOf(hash, text), hash)
	if err != nil {
		return CloudFront{}, fmt.Errorf("sign the policy: %w", err)
	}
	result.Signature = encodeCloudFront(signature)
	return result, nil
}

func encodeCloudFront(b []byte) string {
	return toCloudFront.Replace(base64.StdEncoding.EncodeToString(b))
}

// Query returns the arguments to be added to the address.
func (c CloudFront) Query() string {
	query := cfExpires + "=" + c.Expires
	if c.Policy != "" {
		query = cfPolicy + "=" + c.Policy
	}
	query += "&" + cfSignature + "=" + c.Signature + "&" + cfKeyPairID + "=" + c.KeyPairID
	if c.Hash != "" {
		query += "&" + cfHash + "=" + c.Hash
	}
	return query
}

// Cookies returns the cookies by name, in the order of CloudFront's documents.
func (c CloudFront) Cookies() [][2]string {
	all := [][2]string{{cfPolicy, c.Policy}, {cfExpires, c.Expires}, {cfSignature, c.Signature}, {cfKeyPairID, c.KeyPairID}, {cfHash, c.Hash}}
	var cookies [][2]string
	for _, cookie := range all {
		if cookie[1] != "" {
			cookies = append(cookies, [2]string{CloudFrontCookiePrefix + cookie[0], cookie[1]})
		}
	}
	return cookies
}
