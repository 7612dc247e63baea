package weir_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weir-stream/weir/"

// The law of imports. Foundation and wire are the ground; the areas are towers that stand side by
// side and do not touch; console looks at them through interfaces that it declares; app is the roof.
// Changing it needs an ADR.

var (
	foundation = []string{
		"internal/lifecycle", "internal/httpserver", "internal/objstore", "internal/sqldb", "internal/ffmpeg",
		"internal/geoip", "internal/auth", "internal/audit", "internal/metrics", "internal/problem", "internal/natsserver",
		"internal/secret",
	}
	vocabularies = append([]string{"internal/media", "internal/live", "internal/vod", "internal/cdn", "internal/telemetry", "internal/analytics"}, dialect...)
	// The public packages: reading and writing CMCD, and what stands on that (ADR 9). Whoever may import
	// the first may import them all; they import nothing but each other.
	dialect = []string{"cmcd", "cmcd/validate", "cmcd/client", "cmcd/cmsd", "cmcd/quirk"}

	// What each vocabulary may import.
	vocabularyImports = map[string][]string{
		"internal/live":      {"internal/media"},
		"internal/vod":       {"internal/media"},
		"internal/telemetry": {"cmcd"},
	}
	// What foundation packages may import: two of them stand on the metadata database, one has a password.
	foundationImports = map[string][]string{
		"internal/auth":  {"internal/sqldb"},
		"internal/audit": {"internal/sqldb"},

		"internal/natsserver": {"internal/secret"},
	}
	// The engines of an area that its other engines may import.
	sharedEngines = map[string][]string{
		"live":      {"internal/live/hub"},
		"vod":       {"internal/vod/library"},
		"cdn":       {"internal/cdn/cache", "internal/cdn/cache/freshness", "internal/cdn/cache/segment", "internal/cdn/access", "internal/cdn/transform", "internal/cdn/fleet", "internal/cdn/edge/h1"},
		"analytics": {"internal/analytics/verdict"},
	}
	// The vocabularies beside its own that an area's engines may import.
	foreignVocabularies = map[string][]string{
		"live":      {"internal/media"},
		"vod":       {"internal/media"},
		"cdn":       {"internal/telemetry", "cmcd"},
		"telemetry": {"cmcd"},
		"analytics": {"internal/telemetry", "cmcd"},
		"studio":    {"internal/live", "internal/media"},
	}
)

func within(pkg string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") })
}

func wire(pkg string) bool {
	return within(pkg, "internal/format", "internal/protocol", "internal/drm")
}

// area returns the area that pkg is an engine of, "" if it is none.
func area(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, "internal/")
	if !ok {
		return ""
	}
	name, engine, _ := strings.Cut(rest, "/")
	if engine == "" || !slices.Contains([]string{"live", "vod", "cdn", "telemetry", "analytics", "studio"}, name) {
		return ""
	}
	return name
}

// violation says why from may not import to, or "" if it may.
func violation(from, to string) string {
	switch {
	case from == "" || strings.HasPrefix(from, "test/") || strings.HasPrefix(from, "examples/"):
		return "" // tests of the whole tree see what they test
	case from == "cmd/weir":
		if to == "internal/app" {
			return ""
		}
		return "cmd/weir imports app and nothing else"
	case from == "internal/app":
		return ""
	case to == "internal/app":
		return "only cmd/weir imports app"
	case to == "internal/config":
		return "config is app's; engines own their Config"
	case from == "internal/config":
		return ""
	case from == "web":
		return "web holds files only"
	case within(from, "cmcd"):
		if from != "cmcd" && within(to, "cmcd") || to == "cmcd/internal/jsontext" {
			return ""
		}
		return "the public packages stand on package cmcd and the standard library"
	case slices.Contains(vocabularies, from):
		if slices.Contains(vocabularyImports[from], to) || slices.Contains(vocabularyImports[from], "cmcd") && slices.Contains(dialect, to) {
			return ""
		}
		return "a vocabulary stands by itself"
	case within(from, foundation...):
		if slices.Contains(foundationImports[from], to) || sameTree(from, to) {
			return ""
		}
		return "foundation stands on nothing of ours"
	case wire(from):
		if to == "internal/media" || sameTree(from, to) || within(to, "internal/format") && !within(from, "internal/format") {
			return ""
		}
		return "wire packages see media (protocol and drm also format)"
	case within(from, "internal/console"):
		if slices.Contains(vocabularies, to) || within(to, foundation...) || to == "web" || to == "api" {
			return ""
		}
		return "console reaches engines only through interfaces that it declares"
	case area(from) != "":
		return engineViolation(from, to)
	}
	return fmt.Sprintf("the law has no place for %s", from)
}

func engineViolation(from, to string) string {
	own := area(from)
	switch {
	case to == "internal/"+own,
		slices.Contains(foreignVocabularies[own], to),
		slices.Contains(foreignVocabularies[own], "cmcd") && slices.Contains(dialect, to),
		within(to, foundation...),
		slices.Contains(sharedEngines[own], to),
		sameTree(from, to),
		(own == "live" || own == "vod") && wire(to):
		return ""
	case area(to) != "" && area(to) != own:
		return fmt.Sprintf("%s and %s are towers that do not touch", own, area(to))
	case area(to) == own:
		return fmt.Sprintf("engines of %s share only %v", own, sharedEngines[own])
	}
	return fmt.Sprintf("an engine of %s has no business there", own)
}

// sameTree reports whether one of the packages is in the folder of the other, as a contract suite
// is beside what it checks.
func sameTree(a, b string) bool { return within(a, b) || within(b, a) }

type goPackage struct {
	ImportPath   string
	Dir          string
	Name         string
	Doc          string
	GoFiles      []string
	CgoFiles     []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
	Standard     bool
}

func (p goPackage) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, strings.TrimSuffix(module, "/")), "/")
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.Bytes())
	}
	var all []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestTheLawOfImports(t *testing.T) {
	for _, pkg := range list(t, "./...") {
		for _, imported := range pkg.Imports {
			to, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if why := violation(pkg.path(), to); why != "" {
				t.Errorf("%s imports %s: %s", pkg.path(), to, why)
			}
		}
	}
}

// A law that lets everything through would be green as well.
func TestTheLawForbids(t *testing.T) {
	for _, test := range []struct {
		from, to string
		allowed  bool
	}{
		{"cmd/weir", "internal/app", true},
		{"cmd/weir", "internal/live/hub", false},
		{"internal/cdn/edge", "internal/live/packager", false},
		{"internal/cdn/edge", "internal/cdn/cache", true},
		{"internal/cdn/edge", "internal/cdn/origin", false},
		{"internal/cdn/edge", "internal/telemetry", true},
		{"internal/cdn/edge", "internal/telemetry/bus", false},
		{"internal/media", "internal/live", false},
		{"internal/live/packager", "internal/live/hub", true},
		{"internal/live/packager", "internal/live/ingest/rtmp", false},
		{"internal/live/packager", "internal/format/cmaf", true},
		{"internal/live/packager", "internal/cdn", false},
		{"internal/format/hls", "internal/media", true},
		{"internal/format/hls", "internal/protocol/rtmp", false},
		{"internal/console/rest", "internal/telemetry/store/duckdb", false},
		{"internal/console/rest", "internal/analytics", true},
		{"internal/analytics/session", "internal/analytics/query", false},
		{"internal/telemetry/store/duckdb", "internal/telemetry/store", true},
		{"internal/problem", "internal/live", false},
		{"internal/live/hub", "internal/config", false},
		{"cmcd", "cmcd/internal/sf", false},
		{"cmcd", "cmcd/validate", false},
		{"cmcd", "cmcd/internal/jsontext", true},
		{"cmcd/validate", "cmcd/internal/sf", true},
		{"cmcd/quirk", "internal/telemetry", false},
		{"internal/analytics/session", "cmcd/quirk", true},
		{"internal/console/rest", "cmcd/validate", true},
		{"internal/telemetry", "cmcd/quirk", true},
		{"internal/live/hub", "cmcd/client", false},
	} {
		if why := violation(test.from, test.to); (why == "") != test.allowed {
			t.Errorf("%s → %s: allowed = %v (%s), want %v", test.from, test.to, why == "", why, test.allowed)
		}
	}
}

// An edge or a router must build without a C compiler: only the DuckDB store may need cgo.
func TestOnlyTheDuckDBStoreNeedsCgo(t *testing.T) {
	const duckdb = "github.com/duckdb/duckdb-go"
	for _, pkg := range list(t, "./...") {
		if pkg.path() == "internal/telemetry/store/duckdb" {
			continue
		}
		for _, imported := range pkg.Imports {
			if strings.HasPrefix(imported, duckdb) {
				t.Errorf("%s imports %s; only internal/telemetry/store/duckdb may", pkg.path(), imported)
			}
		}
		if len(pkg.CgoFiles) > 0 {
			t.Errorf("%s has cgo files %v", pkg.path(), pkg.CgoFiles)
		}
	}
	cmd := exec.Command("go", "list", "-deps", "./cmd/weir")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go list with CGO_ENABLED=0: %v: %s", err, out)
	}
	if strings.Contains(string(out), duckdb) {
		t.Error("cmd/weir needs DuckDB although cgo is off")
	}
}

// Nothing else of the module promises an API: what others import must not drag the house along.
func TestCMCDStandsAlone(t *testing.T) {
	for _, pkg := range list(t, "-deps", "./cmcd/...") {
		if !pkg.Standard && !within(pkg.path(), "cmcd") {
			t.Errorf("cmcd depends on %s", pkg.ImportPath)
		}
	}
}
