package config

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// hostName is the name of the node on a host that has one, else "".
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return nameOf(name)
}

// nameOf makes the name of a node of that of its host: a token begins with a letter, which names of containers often do
// not. "" if it cannot be, or is what many hosts are called.
func nameOf(host string) string {
	if first, _, _ := strings.Cut(host, "."); first == "localhost" {
		return ""
	}
	for _, name := range []string{host, "node-" + host} {
		if host != "" && nodeID.MatchString(name) {
			return name
		}
	}
	return ""
}

// nameFile has the name of a node that has none otherwise.
const nameFile = "node-id"

// NodeName returns the name of the node whose data folder it is given, weir- and something random, and remembers
// it there. It is for nodes whose ID is "".
func NodeName(data string) (string, error) {
	file := filepath.Join(data, nameFile)
	for {
		content, err := os.ReadFile(file)
		if err == nil {
			name := strings.TrimSpace(string(content))
			if !nodeID.MatchString(name) {
				return "", fmt.Errorf("node.id: %s has %q, which is not a letter followed by at most 62 letters, digits, '.', '_' or '-'", file, name)
			}
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("node.id: %w", err)
		}
		if err := writeName(data, file); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("node.id: %w", err)
		}
	}
}

// writeName writes a new name. The file is there as a whole or not at all, and another process may be quicker.
func writeName(data, file string) error {
	f, err := os.CreateTemp(data, nameFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString("weir-" + strings.ToLower(rand.Text()[:10]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), file)
}
