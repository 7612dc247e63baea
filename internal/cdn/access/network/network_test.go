package network_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/internal/cdn/access/network"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheNarrowestNetworkCounts(t *testing.T) {
	file := write(t, "# abuse\n10.1.2.0/24   # a house\n\n2001:db8:bad::/48\n::ffff:192.0.2.66\n")
	for _, test := range []struct {
		name    string
		config  network.Config
		address string
		want    network.Side
	}{
		{"blocked", network.Config{Block: []string{"10.0.0.0/8"}}, "10.9.9.9", network.Blocked},
		{"not blocked", network.Config{Block: []string{"10.0.0.0/8"}}, "11.9.9.9", network.Allowed},
		{"allowed", network.Config{Allow: []string{"10.0.0.0/8"}}, "10.9.9.9", network.Allowed},
		{"not allowed", network.Config{Allow: []string{"10.0.0.0/8"}}, "11.9.9.9", network.Outside},
		{"allowed in what is blocked", network.Config{Allow: []string{"10.1.0.0/16"}, Block: []string{"10.0.0.0/8"}}, "10.1.9.9", network.Allowed},
		{"blocked in what is allowed", network.Config{Allow: []string{"10.0.0.0/8"}, BlockFiles: []string{file}}, "10.1.2.9", network.Blocked},
		{"one address", network.Config{Block: []string{"192.0.2.1"}}, "192.0.2.1", network.Blocked},
		{"its neighbour", network.Config{Block: []string{"192.0.2.1"}}, "192.0.2.2", network.Allowed},
		{"of IPv6", network.Config{BlockFiles: []string{file}}, "2001:db8:bad::1", network.Blocked},
		{"mapped in the list", network.Config{BlockFiles: []string{file}}, "192.0.2.66", network.Blocked},
		{"unlisted, as is said", network.Config{Block: []string{"10.0.0.0/8"}, Unlisted: "deny"}, "11.0.0.1", network.Outside},
		{"unlisted beside an allow list, as is said", network.Config{Allow: []string{"10.0.0.0/8"}, Unlisted: "allow"}, "11.0.0.1", network.Allowed},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, err := test.config.Load()
			if err != nil {
				t.Fatal(err)
			}
			if got := list.SideOf(netip.MustParseAddr(test.address)); got != test.want {
				t.Errorf("%s is on side %d, want %d", test.address, got, test.want)
			}
		})
	}
	list, err := network.Config{Block: []string{"10.0.0.0/8"}}.Load()
	if err != nil {
		t.Fatal(err)
	}
	if got := list.SideOf(netip.Addr{}); got != network.Outside {
		t.Errorf("no address is on side %d", got)
	}
}

func TestListsThatCannotBe(t *testing.T) {
	for _, test := range []struct {
		config network.Config
		want   string
	}{
		{network.Config{}, "allow: it is empty"},
		{network.Config{Allow: []string{"here"}}, `allow: "here" is not an address or a prefix`},
		{network.Config{Block: []string{"10.0.0.0/33"}}, `block: "10.0.0.0/33" is not`},
		{network.Config{Block: []string{"fe80::1%eth0"}}, "is not an address"},
		{network.Config{Allow: []string{"10.0.0.1/8"}, Block: []string{"10.0.0.0/8"}}, "block: 10.0.0.0/8 is also in allow"},
		{network.Config{Block: []string{"10.0.0.0/8"}, Unlisted: "maybe"}, `unlisted: "maybe" is not allow or deny`},
		{network.Config{AllowFiles: []string{"nowhere"}}, "allow_files: open nowhere"},
		{network.Config{BlockFiles: []string{write(t, "10.0.0.1\nhere\n")}}, `list:2: "here" is not`},
		{network.Config{Allow: []string{"10.0.0.1"}, BlockFiles: []string{write(t, "10.0.0.1")}}, "both in an allow and in a block list"},
	} {
		err := test.config.Check()
		if err == nil {
			_, err = test.config.Load()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want one with %q", test.config, err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("10.0.0.1/8")
	f.Add("2001:db8::%1/1")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := network.Parse(text); err == nil && (!p.IsValid() || p != p.Masked() || p.Addr().Zone() != "") {
			t.Fatalf("%q is %v", text, p)
		}
	})
}
