package proxyproto_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/httpserver/proxyproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const signature = "\r\n\r\n\x00\r\nQUIT\n"

var (
	tcp4 = "\xc0\x00\x02\x01\xc6\x33\x64\x01\x1f\x90\x01\xbb"
	tcp6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x00", 16) + "\x1f\x90\x01\xbb"
)

func TestRead(t *testing.T) {
	for _, test := range []struct {
		name, header, want string // want: "" is not known, "!" an error
	}{
		{"v1, IPv4", "PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\r\n", "192.0.2.1:8080"},
		{"v1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 8080 443\r\n", "[2001:db8::1]:8080"},
		{"v1, the longest", "PROXY TCP6 " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
		{"v1, unknown", "PROXY UNKNOWN\r\n", ""},
		{"v1, unknown with addresses", "PROXY UNKNOWN 192.0.2.1 198.51.100.1 8080 443\r\n", ""},
		{"v1, too long", "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", "!"},
		{"v1, another family", "PROXY TCP4 2001:db8::1 2001:db8::2 8080 443\r\n", "!"},
		{"v1, another protocol", "PROXY UDP4 192.0.2.1 198.51.100.1 8080 443\r\n", "!"},
		{"v1, no address", "PROXY TCP4 localhost 198.51.100.1 8080 443\r\n", "!"},
		{"v1, a port above 65535", "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", "!"},
		{"v1, too few words", "PROXY TCP4 192.0.2.1\r\n", "!"},
		{"v1, two spaces", "PROXY  TCP4 192.0.2.1 198.51.100.1 8080 443\r\n", "!"},
		{"v1, broken off", "PROXY TCP4 192.0.2.1 198.51", "!"},
		{"v2, IPv4", signature + "\x21\x11\x00\x0c" + tcp4, "192.0.2.1:8080"},
		{"v2, IPv4 with more", signature + "\x21\x11\x00\x10" + tcp4 + "\x04\x00\x01\x00", "192.0.2.1:8080"},
		{"v2, IPv6", signature + "\x21\x21\x00\x24" + tcp6, "[2001:db8::1]:8080"},
		{"v2, local", signature + "\x20\x00\x00\x00", ""},
		{"v2, local with addresses", signature + "\x20\x11\x00\x0c" + tcp4, ""},
		{"v2, a Unix socket", signature + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), ""},
		{"v2, too few bytes", signature + "\x21\x11\x00\x04\xc0\x00\x02\x01", "!"},
		{"v2, another version", signature + "\x31\x11\x00\x0c" + tcp4, "!"},
		{"v2, another command", signature + "\x22\x11\x00\x0c" + tcp4, "!"},
		{"v2, too much", signature + "\x21\x11\xff\xff" + tcp4, "!"},
		{"v2, broken off", signature + "\x21\x11\x00\x0c\xc0", "!"},
		{"a request", "GET / HTTP/1.1\r\n\r\n", "!"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00", "!"},
		{"nothing", "", "!"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := strings.NewReader(test.header + "rest")
			if test.want == "!" && !strings.HasSuffix(test.header, "\n") {
				r = strings.NewReader(test.header)
			}
			got, err := proxyproto.Read(r)
			if test.want == "!" {
				if !errors.Is(err, proxyproto.ErrHeader) {
					t.Errorf("got %v, %v, want an error", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, _ := netip.ParseAddrPort(test.want)
			if got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "rest" {
				t.Errorf("what follows is %q", rest)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\r\n"))
	f.Add([]byte(signature + "\x21\x11\x00\x0c" + tcp4))
	f.Fuzz(func(t *testing.T, header []byte) {
		got, err := proxyproto.Read(bytes.NewReader(header))
		if err != nil && got.IsValid() {
			t.Errorf("an address %v and an error %v", got, err)
		}
	})
}
