package keyfile_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/weir-stream/weir/internal/cdn/access/keyfile"
)

var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestKeySets(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := must(ecKey().PublicKey.Bytes())
	r := fmt.Sprintf(`{"kty":"RSA","kid":"r","n":%q,"e":"AQAB"}`, b64(rsaKey().N.Bytes()))
	e := fmt.Sprintf(`{"kty":"EC","kid":"e","crv":"P-256","x":%q,"y":%q}`, b64(point[1:33]), b64(point[33:]))
	o := fmt.Sprintf(`{"kty":"OKP","kid":"o","crv":"Ed25519","x":%q}`, b64(public))
	h := fmt.Sprintf(`{"kty":"oct","kid":"h","k":%q}`, b64([]byte(strings.Repeat("a", 32))))
	keys, err := keyfile.ParseJWKS([]byte(`{"keys":[` + strings.Join([]string{r, e, o, h, `{"kty":"RSA","use":"enc"}`}, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]any{"r": &rsaKey().PublicKey, "e": &ecKey().PublicKey, "o": public} {
		if got, ok := keys[id].Public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !got.Equal(want) {
			t.Errorf("%s is %v, want %v", id, got, want)
		}
	}
	if string(keys["h"].Secret) != strings.Repeat("a", 32) || len(keys) != 4 {
		t.Errorf("there are %d keys, and the secret is %q", len(keys), keys["h"].Secret)
	}
	for _, test := range []struct{ keys, want string }{
		{`{`, "not JSON"},
		{`{"keys":[]}`, "no key for signatures"},
		{`{"keys":[{"kty":"RSA"}]}`, "key 1 of the set has no kid"},
		{`{"keys":[` + r + "," + r + `]}`, `two keys of the set have the kid "r"`},
		{`{"keys":[{"kty":"X","kid":"x"}]}`, `its kty is "X"`},
		{`{"keys":[` + strings.Replace(r, "AQAB", "AQ", 1) + `]}`, "e is not an odd number"},
		{`{"keys":[` + strings.Replace(e, "P-256", "P-1", 1) + `]}`, `its crv is "P-1"`},
		{`{"keys":[` + strings.Replace(e, b64(point[33:]), b64(make([]byte, 32)), 1) + `]}`, "no point of the curve"},
		{`{"keys":[{"kty":"OKP","kid":"x","crv":"X25519","x":""}]}`, `its crv is "X25519"`},
		{`{"keys":[{"kty":"oct","kid":"x","k":"hush!"}]}`, "k is not base64url"},
	} {
		if _, err := keyfile.ParseJWKS([]byte(test.keys)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60s: error %v, want one with %q", test.keys, err, test.want)
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestPublicKeys(t *testing.T) {
	der := must(x509.MarshalPKIXPublicKey(&ecKey().PublicKey))
	for name, text := range map[string][]byte{
		"PKIX":    block("PUBLIC KEY", der),
		"PKCS #1": block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)),
	} {
		if _, err := keyfile.ParsePublicKey(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, test := range []struct {
		text []byte
		want string
	}{
		{nil, "there is no PEM block"},
		{block("PUBLIC KEY", []byte("x")), "cannot be read"},
		{block("CERTIFICATE", []byte("x")), "the certificate cannot be read"},
		{block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ecKey()))), `a "PRIVATE KEY"; a PUBLIC KEY or CERTIFICATE is expected`},
	} {
		if _, err := keyfile.ParsePublicKey(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one with %q", err, test.want)
		}
	}
}

func TestPrivateKeys(t *testing.T) {
	for name, text := range map[string][]byte{
		"PKCS #8": block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ecKey()))),
		"PKCS #1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())),
		"SEC 1":   block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey()))),
	} {
		if _, err := keyfile.ParsePrivateKey(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range [][]byte{nil, block("PRIVATE KEY", []byte("x")), block("ENCRYPTED PRIVATE KEY", nil)} {
		if _, err := keyfile.ParsePrivateKey(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

func TestSecrets(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	folder := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(folder, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	env := func(name string) (string, bool) { return secret, name == "KEY" }
	for _, test := range []struct {
		ref  keyfile.SecretRef
		want string // the secret, or a part of the error after "!"
	}{
		{keyfile.SecretRef{File: file("text", secret+"\r\n")}, secret},
		{keyfile.SecretRef{File: file("hex", hex.EncodeToString([]byte(secret))+"\n"), Encoding: "hex"}, secret},
		{keyfile.SecretRef{File: file("base64", base64.StdEncoding.EncodeToString([]byte(secret))), Encoding: "base64"}, secret},
		{keyfile.SecretRef{File: file("base64url", base64.RawURLEncoding.EncodeToString([]byte(secret))), Encoding: "base64"}, secret},
		{keyfile.SecretRef{Env: "KEY"}, secret},
		{keyfile.SecretRef{}, "!there is no secret"},
		{keyfile.SecretRef{Env: "OTHER"}, "!OTHER is not set"},
		{keyfile.SecretRef{Env: "KEY", File: "x"}, "!and env as well"},
		{keyfile.SecretRef{Env: "WEIR_KEY"}, "!does not begin with WEIR_"},
		{keyfile.SecretRef{Env: "KEY", Encoding: "rot13"}, `!"rot13" is not text, hex or base64`},
		{keyfile.SecretRef{File: filepath.Join(folder, "none")}, "!no such file"},
		{keyfile.SecretRef{File: file("wrong", "hush!"), Encoding: "hex"}, "!is not hexadecimal"},
		{keyfile.SecretRef{File: file("wrong64", "hush!"), Encoding: "base64"}, "!is not base64"},
	} {
		got, err := test.ref.Read(env)
		if want, failing := strings.CutPrefix(test.want, "!"); failing {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%+v: error %v, want one with %q", test.ref, err, want)
			}
		} else if err != nil || string(got) != want {
			t.Errorf("%+v: %q, %v", test.ref, got, err)
		}
	}
}

func TestASecretInAConfigurationIsNotShown(t *testing.T) {
	for text, want := range map[string]string{
		"hush":            "a secret does not stand in the configuration",
		"[hush]":          "{file: PATH} or {env: NAME} is expected",
		"{text: hush}":    `unknown key "text"`,
		"{file: a}":       "",
		"{env: a}":        "",
		"{env: [hushhh]}": "cannot unmarshal",
	} {
		var ref keyfile.SecretRef
		err := yaml.Unmarshal([]byte(text), &ref)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","kid":"e","crv":"P-256","x":"AA","y":"AA"},{"kty":"oct","kid":"h","k":"AA"}]}`))
	f.Add(block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&ecKey().PublicKey))))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = keyfile.ParseJWKS(text)
		_, _ = keyfile.ParsePublicKey(text)
		_, _ = keyfile.ParsePrivateKey(text)
	})
}
