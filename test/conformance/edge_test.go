package conformance

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	binary  = flag.String("weir", "../../bin/weir", "the program to test")
	another = flag.String("edge", "", "another cache to test: a command in which {origin} is the origin's URL and {listen} the address to listen at")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if _, err := os.Stat(*binary); err != nil && *another == "" {
		fmt.Fprintf(os.Stderr, "%v\nrun make conformance, which builds it, or make build first\n", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// startEdge starts the program as an edge in front of an origin, with no configuration, and returns the
// URL at which it serves, without a slash at its end. It is stopped when the test ends.
func startEdge(t *testing.T, originURL string) string {
	t.Helper()
	if *another != "" {
		return startAnother(t, originURL)
	}
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", "--role", "edge", "--origin", originURL,
		"--listen", "127.0.0.1:0", "--private", "127.0.0.1:0", "--data", t.TempDir())
	cmd.Dir, cmd.Env = t.TempDir(), environment() // no weir.yaml here
	// The banner says where.
	public := regexp.MustCompile(`^ *Edge +http://(\S+?)/? *$`)
	var address string
	start(t, cmd, func(line string) bool {
		if m := public.FindStringSubmatch(line); m != nil {
			address = m[1]
		}
		return address != "" && strings.HasPrefix(line, "Ctrl-C")
	})
	return "http://" + address
}

// startAnother starts the cache that the flag names.
func startAnother(t *testing.T, originURL string) string {
	t.Helper()
	address := freeAddress(t)
	words := strings.Fields(strings.NewReplacer("{origin}", originURL, "{listen}", address).Replace(*another))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = environment()
	start(t, cmd, nil).answers(t, address)
	return "http://" + address
}

// client sends what it is told to and nothing else: no compression, no redirects, no connection of another
// test.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
