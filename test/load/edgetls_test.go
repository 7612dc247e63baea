package load

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/test/load/origin"
)

// tlsPoint is a size that is measured with TLS, by a client that others use too.
type tlsPoint struct {
	name           string
	size           int
	conns, streams int // streams: of HTTP/2, 0 is HTTP/1.1
	goal           float64
}

var tlsPoints = []tlsPoint{
	{name: "HTTP/1.1 1 KB", size: 1 << 10, conns: 32},
	{name: "HTTP/1.1 64 KB", size: 64 << 10, conns: 16},
	{name: "HTTP/1.1 1 MB", size: 1 << 20, conns: 8, goal: 1.4},
	{name: "HTTP/2 1 KB", size: 1 << 10, conns: 16, streams: 4, goal: 0.9},
	{name: "HTTP/2 64 KB", size: 64 << 10, conns: 16, streams: 1, goal: 1.0},
	{name: "HTTP/2 1 MB", size: 1 << 20, conns: 8, streams: 1, goal: 1.3},
}

// Hits over TLS 1.3, with HTTP/1.1 (wrk) and HTTP/2 (h2load).
func TestEdgeTLS(t *testing.T) {
	needMeasure(t)
	for _, program := range []string{"wrk", "h2load"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT MEASURED: %v (apt-get install wrk nghttp2-client)", err)
		}
	}
	if !alone(t) {
		return
	}
	startOrigin(t)
	visit, features := edgeAccess(t)
	servers := append([]edgeServer{weirEdge(t, true)}, nginxTLS()...)
	var results series
	for repetition := range *edgeRepetitions {
		for _, s := range servers {
			if chosen(t, *edgeServers, s.name) {
				visitTLS(t, s, visit, &results)
			}
		}
		t.Logf("repetition %d is done", repetition+1)
	}
	goals := make(map[string]float64)
	for _, p := range tlsPoints {
		goals[p.name] = p.goal
	}
	results.print(t, "Hits, TLS 1.3", features+" Clients wrk 4 and h2load, which read what they get: at 1 MB they may be what limits.", goals)
}

func visitTLS(t *testing.T, s edgeServer, visit edgeVisitor, results *series) {
	t.Helper()
	r := s.start(t, visit)
	defer r.stop()
	for _, p := range tlsPoints {
		if !chosen(t, *edgeSizes, p.name) {
			continue
		}
		path := origin.Path(p.size, "film.m4s")
		r.warm(t, visit, path)
		client := wrk
		if p.streams > 0 {
			client = h2load
		}
		url, used, begun := r.url(path, visit.query(0)), usage(r.pids), time.Now()
		before := used()
		measured, err := client(t, p, url)
		if err != nil {
			t.Errorf("%s, %s: %v", s.name, p.name, err)
			continue
		}
		spent := used() - before
		measured.cost = spent / time.Duration(measured.answers)
		measured.busy = spent.Seconds() / time.Since(begun).Seconds()
		measured.bits = measured.perSecond * float64(p.size) * 8
		results.of(p.name, s).add(measured)
	}
}

// output runs a client on this process's core.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, &log)
	}
	return log.String(), nil
}

// find returns the numbers that an expression finds in a text.
func find(text, expression string) ([]float64, error) {
	m := regexp.MustCompile(expression).FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("there is no %s in: %s", expression, text)
	}
	var values []float64
	for _, field := range m[1:] {
		v, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

func wrk(t *testing.T, p tlsPoint, url string) (f flooded, err error) {
	t.Helper()
	text, err := output("wrk", "-t1", "-c"+strconv.Itoa(p.conns), fmt.Sprintf("-d%.0fs", edgeTime.Seconds()), "--latency", url)
	if err != nil {
		return f, err
	}
	if strings.Contains(text, "Non-2xx") || strings.Contains(text, "Socket errors") {
		return f, fmt.Errorf("not all answers were good: %s", text)
	}
	rate, err := find(text, `Requests/sec:\s+([\d.]+)`)
	if err != nil {
		return f, err
	}
	all, err := find(text, `(\d+) requests in`)
	if err != nil {
		return f, err
	}
	f.perSecond, f.answers = rate[0], int(all[0])
	for quantile, into := range map[string]*time.Duration{"50": &f.p50, "99": &f.p99} {
		m := regexp.MustCompile(`(?m)^\s+` + quantile + `%\s+([\d.]+)(us|ms|s)$`).FindStringSubmatch(text)
		if m == nil {
			return f, fmt.Errorf("there is no %s %% in: %s", quantile, text)
		}
		if *into, err = time.ParseDuration(m[1] + m[2]); err != nil {
			return f, err
		}
	}
	if f.answers == 0 {
		return f, fmt.Errorf("there was no answer: %s", text)
	}
	return f, nil
}

func h2load(t *testing.T, p tlsPoint, url string) (f flooded, err error) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "requests") // of each: when it began, its status, how long it took, in µs
	text, err := output("h2load", "-t1", "-c"+strconv.Itoa(p.conns), "-m"+strconv.Itoa(p.streams), "-D"+strconv.Itoa(int(edgeTime.Seconds())),
		"--log-file="+log, url)
	if err != nil {
		return f, err
	}
	if !strings.Contains(text, "Application protocol: h2") {
		return f, fmt.Errorf("HTTP/2 is not spoken: %s", text)
	}
	status, err := find(text, `status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx`)
	if err != nil {
		return f, err
	}
	if status[0] == 0 || status[1]+status[2]+status[3] > 0 {
		return f, fmt.Errorf("not all answers were good: %s", text)
	}
	rate, err := find(text, `([\d.]+) req/s`)
	if err != nil {
		return f, err
	}
	f.perSecond, f.answers = rate[0], int(status[0])
	file, err := os.Open(log)
	if err != nil {
		return f, err
	}
	defer file.Close()
	var latencies []time.Duration
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || fields[1] != "200" {
			continue // those that were still on their way
		}
		us, err := strconv.Atoi(fields[2])
		if err != nil {
			return f, err
		}
		latencies = append(latencies, time.Duration(us)*time.Microsecond)
	}
	slices.Sort(latencies)
	f.p50, f.p99 = quantile(latencies, .5), quantile(latencies, .99)
	return f, nil
}
