package weir_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Names that say nothing of what is inside, and so fill with what has no home.
var bannedNames = []string{
	"util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "core", "lib", "types", "models", "model", "pkg", "manager",
}

const (
	maxPackageLines = 2000
	maxFileLines    = 500
)

// oversized are the packages and files that may be larger, each with the reason.
var oversized = map[string]string{
	// ADR 9: what stands on it has packages of its own.
	"internal/app": "the roof: a file for each role and command, none of which knows another",
	// ADR 11: what could be told apart has packages of its own.
	"internal/cdn/edge":    "one exchange and the ways that it can take; they share its state",
	"internal/cdn/edge/h1": "one connection: reading, answering and waiting share its buffers",
	"internal/cdn/edge/h2": "one connection: streams, who reads and who writes share its lock",
	"internal/cdn/cache":   "one index: fills, variants, purges and the disk meet under its locks",
	"cmcd":                 "one type, and all that reads and writes it: the fast and the lenient way of reading must agree word for word",
}

func TestTheTree(t *testing.T) {
	for _, pkg := range list(t, "./...") {
		path := pkg.path()
		if pkg.Doc == "" && len(pkg.GoFiles) > 0 {
			t.Errorf("%s has no package comment", path)
		}
		for segment := range strings.SplitSeq(path, "/") {
			if slices.Contains(bannedNames, segment) {
				t.Errorf("%s: %q says nothing of what is inside; name it after what it does", path, segment)
			}
		}
		if depth := strings.Count(path, "/"); strings.HasPrefix(path, "internal/") && depth > 3 {
			t.Errorf("%s is deeper than internal/<area>/<package>/<variant>", path)
		}
		total := 0
		for _, file := range pkg.GoFiles {
			source, err := os.ReadFile(filepath.Join(pkg.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.HasPrefix(source, []byte("// Code generated")) {
				continue
			}
			lines := bytes.Count(source, []byte("\n"))
			total += lines
			if name := path + "/" + file; lines > maxFileLines && oversized[name] == "" {
				t.Errorf("%s has %d lines, at most %d without a reason here", name, lines, maxFileLines)
			}
			if strings.Contains(string(source), "\nfunc init()") {
				t.Errorf("%s/%s has an init function; app names everything", path, file)
			}
		}
		if total > maxPackageLines && oversized[path] == "" {
			t.Errorf("%s has %d lines, at most %d without a reason here", path, total, maxPackageLines)
		}
	}
}

// sources calls f with every file of the tree that people wrote.
func sources(t *testing.T, f func(path string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch {
			case entry.Name() == "node_modules", entry.Name() == ".git", entry.Name() == "bin", path == "web/dist", path == "weir-data":
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".md", ".ts", ".tsx", ".yml", ".yaml", ".css", ".html", ".json", ".sh"}, filepath.Ext(path)) && entry.Name() != "Makefile" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(path), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The documents are true as far as a test can tell: what they link to is there.
func TestDocumentsLinkToWhatExists(t *testing.T) {
	seen := 0
	sources(t, func(path string, content []byte) {
		if filepath.Ext(path) != ".md" {
			return
		}
		seen++
		for _, target := range links(content) {
			target, _, _ = strings.Cut(target, "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", path, target)
			}
		}
	})
	if seen < 10 {
		t.Errorf("only %d documents were looked at", seen)
	}
}

// links returns the targets of the Markdown links in content, outside code.
func links(content []byte) []string {
	var targets []string
	code := false
	for line := range bytes.Lines(content) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte("```")) {
			code = !code
		}
		if code {
			continue
		}
		for _, rest := range bytes.Split(line, []byte("]("))[1:] {
			if end := bytes.IndexAny(rest, ") \n"); end > 0 {
				targets = append(targets, string(rest[:end]))
			}
		}
	}
	return targets
}

// Every module that go.mod asks for directly has its reason written down.
func TestEveryDependencyHasAReason(t *testing.T) {
	reasons, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(gomod)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.Contains(line, "// indirect") || !strings.Contains(fields[0], ".") {
			continue
		}
		if !bytes.Contains(reasons, []byte("`"+fields[0]+"`")) {
			t.Errorf("docs/dependencies.md says nothing of %s", fields[0])
		}
	}
}
