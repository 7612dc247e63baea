package load

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// How the edge is measured (docs/performance.md): in a network namespace of its own, whose loopback has cubic,
// because a congestion control that paces makes it a measurement of the pacing; the server on the first core,
// clients and origin on the second; the servers in turn within each repetition, each started anew.
var (
	edgeRepetitions = flag.Int("edge-repetitions", 5, "how often each server of the measurements of the edge is visited")
	edgeTime        = flag.Duration("edge-time", 2*time.Second, "how long each point is measured")
	edgeServers     = flag.String("edge-servers", "", "measure the servers whose name matches only")
	edgeSizes       = flag.String("edge-sizes", "", "measure the sizes whose name matches only")
)

// edgeInside is the variable that tells this program that it is in the namespace, and what that is like.
const edgeInside = "WEIR_LOAD_EDGE_INSIDE"

// serverCore and clientCore are the cores that programs are kept on.
const (
	serverCore = "0"
	clientCore = "1"
)

// edgeNice is how nice the programs under measurement are to others on the machine. Where sessions are scheduled as
// groups (sched(7), the autogroup feature) that counts between the programs of one session only, so each has a
// session of its own, and that is told the same.
const edgeNice = "-12"

// edgeNamespace is how the loopback of the namespace is set up. The queues of listeners are made long enough for
// a storm; the kernel's default is 4096.
const edgeNamespace = `set -e
ip link set lo up
for route in 127.0.0.0/8 127.0.0.1; do
	ip route replace local $route dev lo proto kernel scope host src 127.0.0.1 table local congctl cubic
done
echo 65535 > /proc/sys/net/core/somaxconn
[ ! -e /proc/self/autogroup ] || echo ` + edgeNice + ` > /proc/self/autogroup
exec nice -n ` + edgeNice + ` taskset -c ` + clientCore + ` "$0" "$@"`

// alone runs the test as the edge is measured, see edgeNamespace; like inNamespace it returns true where it is so.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(edgeInside) == "" && runtime.NumCPU() < 2 {
		t.Skip("NOT MEASURED: a core for the server and one for the client are needed")
	}
	return inNamespace(t, edgeNamespace, "cubic, one core for the server, ", "taskset")
}

// inNamespace runs the test in a process and a network namespace of their own that the script has set up, and skips it,
// and says so, where that cannot be. It returns true in that process; where it returns false the test has been run.
func inNamespace(t *testing.T, script, like string, programs ...string) bool {
	t.Helper()
	if os.Getenv(edgeInside) != "" {
		raiseFiles()
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT MEASURED: network namespaces need root")
	}
	for _, program := range append(programs, "unshare", "ip") {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT MEASURED: %v (apt-get install util-linux iproute2 nftables)", err)
		}
	}
	// With a namespace of processes too nothing is left behind, whatever becomes of the test.
	unshare := []string{"--net", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if out, err := exec.Command("unshare", slices.Concat(unshare, []string{"true"})...).CombinedOutput(); err != nil {
		t.Skipf("NOT MEASURED: there can be no namespaces here: %v: %s", err, out)
	}
	chosen := "^" + t.Name() + "$"
	if _, within, ok := strings.Cut(flag.Lookup("test.run").Value.String(), "/"); ok {
		chosen += "/" + within
	}
	args := slices.Concat(unshare, []string{"sh", "-c", script, os.Args[0], "-test.run=" + chosen})
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(deadline.Add(-5*time.Second)).String())
	} else {
		args = append(args, "-test.timeout=0")
	}
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), edgeInside+"="+like)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("in the namespace: %v", err)
	}
	return false
}

// raiseFiles lets this process and those that it starts open as many files as the machine allows.
func raiseFiles() {
	const want = 250_000
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur >= want {
		return
	}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want, Max: max(want, limit.Max)}) != nil {
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit.Max, Max: limit.Max})
	}
}

// files returns how many files a process may open.
func files(t *testing.T) int {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Cur, 1<<30))
}

// chosen reports whether a flag's expression names it.
func chosen(t *testing.T, expression, name string) bool {
	t.Helper()
	ok, err := regexp.MatchString(expression, name)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// tree returns the process and all that descend from it.
func tree(t *testing.T, root int) []int {
	t.Helper()
	parents := make(map[int]int)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		if fields, err := statFields(pid); err == nil {
			if parents[pid], err = strconv.Atoi(fields[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		for pid, parent := range parents {
			if parent == all[i] {
				all = append(all, pid)
			}
		}
	}
	return all
}

// prefer gives the processes their share of a machine that others use too.
func prefer(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		err := os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(edgeNice), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// statFields returns the fields of /proc/PID/stat that follow the name, the state first (proc_pid_stat(5)).
func statFields(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

// usage returns a function that tells the processor time of the processes and all their threads.
func usage(pids []int) func() time.Duration {
	return func() (all time.Duration) {
		for _, pid := range pids {
			fields, err := statFields(pid)
			if err != nil {
				continue // it has ended; what it used is among that of its parent's children, and was little
			}
			for _, field := range fields[11:13] { // utime, stime in clock ticks of 10 ms
				ticks, _ := strconv.Atoi(field)
				all += time.Duration(ticks) * 10 * time.Millisecond
			}
		}
		return all
	}
}

// resident returns the resident memory of the processes.
func resident(t *testing.T, pids []int) (all int64) {
	t.Helper()
	for _, pid := range pids {
		file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if value, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
				kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				all += kilobytes << 10
			}
		}
		file.Close()
	}
	return all
}

// machine describes where it was measured, for below a table.
func machine(t *testing.T) string {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	processor := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*:\s*(.+)$`).FindSubmatch(info); m != nil {
			processor = string(m[1])
		}
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s, kernel %s, %sload of the machine %s", processor,
		unix.ByteSliceToString(name.Release[:]), os.Getenv(edgeInside), strings.Join(strings.Fields(string(load))[:2], " "))
}

// table is a table in Markdown.
type table struct {
	text strings.Builder
}

func newTable(columns ...string) *table {
	tb := new(table)
	tb.row(columns...)
	tb.text.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
	return tb
}

func (tb *table) row(cells ...string) {
	tb.text.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// print writes the table with its title to standard output, where the log of a test has no prefix.
func (tb *table) print(title, below string) {
	fmt.Printf("\n### %s\n\n%s\n", title, tb.text.String())
	if below != "" {
		fmt.Println(below)
	}
}

// number formats a value with about three digits that count.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case v < 0:
		return "-" + number(-v)
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func milliseconds(d time.Duration) string { return number(float64(d) / float64(time.Millisecond)) }

// medianTime is median for durations.
func medianTime(values []time.Duration) time.Duration {
	numbers := make([]float64, len(values))
	for i, v := range values {
		numbers[i] = float64(v)
	}
	if len(numbers) == 0 {
		return 0
	}
	return time.Duration(median(numbers))
}
