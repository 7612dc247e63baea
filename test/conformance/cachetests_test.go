package conformance

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var (
	update = flag.Bool("update", false, "write the table anew")
	newer  = flag.String("cache-tests", "", "a folder with the newer edition of http-cache-tests, its packages installed")
)

// The edition that the package registry has.
const edition = "node_modules/http-cache-tests"

// cacheTests is an edition of http-cache-tests.
type cacheTests struct {
	folder string
	title  string
	table  string // committed
}

// chosenEdition returns the edition that the flags name.
func chosenEdition(t *testing.T) cacheTests {
	t.Helper()
	c := cacheTests{folder: edition, title: "http-cache-tests 0.4.5", table: "testdata/cache-tests.txt"}
	if *newer != "" {
		c = cacheTests{folder: *newer, title: "http-cache-tests, the newer edition (see README.md)", table: "testdata/cache-tests-head.txt"}
	}
	if _, err := os.Stat(filepath.Join(c.folder, "tests")); err != nil {
		t.Fatalf("%v\nrun make conformance, or npm ci in test/conformance", err)
	}
	folder, err := filepath.Abs(c.folder)
	if err != nil {
		t.Fatal(err)
	}
	c.folder = folder
	return c
}

// suite runs suite.mjs and decodes what it says.
func (c cacheTests) suite(t *testing.T, out any, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"--no-warnings", "suite.mjs"}, args...)...)
	cmd.Env = environment()
	said, err := cmd.Output()
	if err != nil {
		t.Fatalf("node suite.mjs %v: %s", args, failure(err))
	}
	if err := json.Unmarshal(said, out); err != nil {
		t.Fatalf("node suite.mjs %v: %v", args, err)
	}
}

func (c cacheTests) list(t *testing.T) []category {
	t.Helper()
	var all []category
	c.suite(t, &all, "list", c.folder)
	return all
}

// run runs the tests with these ids, or all.
func (c cacheTests) run(t *testing.T, base string, ids ...string) map[string]result {
	t.Helper()
	var found map[string]result
	c.suite(t, &found, append([]string{"run", c.folder, base}, ids...)...)
	return found
}

// startOrigin starts the suite's origin and returns its URL.
func (c cacheTests) startOrigin(t *testing.T) string {
	t.Helper()
	server := filepath.Join(c.folder, "server/server.mjs")
	if _, err := os.Stat(server); err != nil {
		server = filepath.Join(c.folder, "test-engine/server/server.mjs")
	}
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", server)
	cmd.Dir = t.TempDir()
	cmd.Env = environment("npm_config_protocol=http", "npm_config_port="+port, "npm_config_pidfile="+filepath.Join(cmd.Dir, "pid"))
	start(t, cmd, func(line string) bool { return strings.HasPrefix(line, "Listening on") })
	return "http://" + address
}

// TestCacheTests runs the suite against the edge and compares each outcome with the committed table.
func TestCacheTests(t *testing.T) {
	c := chosenEdition(t)
	suite := c.list(t)
	base := startEdge(t, c.startOrigin(t))
	found := c.run(t, base)
	outcomes := judge(suite, found)

	if *update {
		t.Logf("%s\n%s", c.title, summary(suite, outcomes))
		var table bytes.Buffer
		writeTable(&table, c.title, suite, outcomes)
		if err := os.WriteFile(c.table, table.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	file, err := os.Open(c.table)
	if err != nil {
		t.Fatalf("%v\nrun the test with -update to write it\n%s\n%s", err, c.title, summary(suite, outcomes))
	}
	defer file.Close()
	before, err := readTable(file)
	if err != nil {
		t.Fatalf("%s: %v", c.table, err)
	}
	// Some tests count seconds on a machine that has other things to do: what was lost gets a second
	// chance.
	lost, again := regressions(suite, before, outcomes)
	if len(again) > 0 {
		t.Logf("run again: %v", again)
		maps.Copy(found, c.run(t, base, again...))
		outcomes = judge(suite, found)
		lost, _ = regressions(suite, before, outcomes)
	}
	t.Logf("%s\n%s", c.title, summary(suite, outcomes))
	for _, id := range lost {
		t.Errorf("%s passed before; now %s: %s %s", id, outcomes[id], found[id].name, found[id].message)
	}
	gained := 0
	for id, o := range outcomes {
		if o == pass && before[id] != pass {
			gained++
			t.Logf("%s passes and did not before", id)
		}
	}
	if gained > 0 {
		t.Logf("%d outcomes are better than %s; run the test with -update", gained, c.table)
	}
}
