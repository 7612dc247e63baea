// Package network reads lists of networks and says which side of them an address is on.
package network

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/gaissmai/bart"
)

const allow, deny = "allow", "deny"

// Config are networks that may read and that may not; the narrowest that an address is in counts.
type Config struct {
	Allow []string `yaml:"allow"`
	Block []string `yaml:"block"`
	// AllowFiles and BlockFiles have a network a line; # begins a remark.
	AllowFiles []string `yaml:"allow_files"`
	BlockFiles []string `yaml:"block_files"`
	// Unlisted is allow or deny; "": deny if anything is in an allow list, else allow.
	Unlisted string `yaml:"unlisted"`
}

// Check reports the first value that cannot be. Files are not opened.
func (a Config) Check() error {
	listed := make(map[netip.Prefix]bool)
	for name, list := range map[string][]string{"allow": a.Allow, "block": a.Block} {
		for _, text := range list {
			p, err := Parse(text)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if name == "allow" {
				listed[p] = true
			}
		}
	}
	for _, text := range a.Block {
		if p, err := Parse(text); err == nil && listed[p] {
			return fmt.Errorf("block: %s is also in allow", text)
		}
	}
	switch a.Unlisted {
	case "", allow, deny:
	default:
		return fmt.Errorf("unlisted: %q is not allow or deny", a.Unlisted)
	}
	if len(a.Allow)+len(a.Block)+len(a.AllowFiles)+len(a.BlockFiles) == 0 && a.Unlisted == "" {
		return fmt.Errorf("allow: it is empty, and so are the other lists")
	}
	return nil
}

// Parse reads an address or a prefix; bits after the prefix are not looked at.
func Parse(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is not an address or a prefix such as 192.0.2.0/24", text)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is not an address or a prefix such as 192.0.2.0/24", text)
	}
	return p.Masked(), nil
}

// List says of networks whether they may read.
type List struct {
	table    bart.Table[bool]
	unlisted bool
}

// Load reads the files and returns the list.
func (a Config) Load() (*List, error) {
	list := new(List)
	allowed := 0
	for _, side := range []struct {
		name  string
		nets  []string
		files []string
		may   bool
	}{{"allow", a.Allow, a.AllowFiles, true}, {"block", a.Block, a.BlockFiles, false}} {
		add := func(text string) error {
			p, err := Parse(text)
			if err != nil {
				return err
			}
			if may, there := list.table.Get(p); there && may != side.may {
				return fmt.Errorf("%s is both in an allow and in a block list", p)
			}
			list.table.Insert(p, side.may)
			return nil
		}
		for _, text := range side.nets {
			if err := add(text); err != nil {
				return nil, fmt.Errorf("%s: %w", side.name, err)
			}
		}
		for _, file := range side.files {
			if err := eachLine(file, add); err != nil {
				return nil, fmt.Errorf("%s_files: %w", side.name, err)
			}
		}
		if side.may {
			allowed = list.table.Size()
		}
	}
	switch a.Unlisted {
	case allow:
		list.unlisted = true
	case deny:
	default:
		list.unlisted = allowed == 0
	}
	return list, nil
}

// eachLine calls add with each line of a file that is not a remark or empty.
func eachLine(file string, add func(string) error) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if err := add(text); err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// Side is where an address is.
type Side int

// The sides an address can be on.
const (
	Allowed Side = iota
	Blocked      // in a block list
	Outside      // in no list, where those may not read
)

// SideOf returns the side that an address is on; an address of IPv4 is not mapped into IPv6.
func (l *List) SideOf(a netip.Addr) Side {
	if !a.IsValid() {
		return Outside
	}
	may, listed := l.table.Lookup(a)
	switch {
	case listed && !may:
		return Blocked
	case !listed && !l.unlisted:
		return Outside
	}
	return Allowed
}
