package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What a newcomer sees: ready, a picture within ten seconds, and a clean end.
func TestATestChannelPlaysAtOnceAndEverythingStops(t *testing.T) {
	p := serve(t, "--test-channel")
	ready := time.Now()
	ctx, errs := tab(t, browser(t), "http://"+p.public+"/watch/test")
	playing(t, ctx, 10*time.Second)
	t.Logf("ready after %v, the picture moved %v later", p.ready.Round(time.Millisecond), time.Since(ready).Round(time.Millisecond))
	if thrown := errs.all(); len(thrown) > 0 {
		t.Errorf("the page threw %q", thrown)
	}
	var children []string
	waitFor(t, 5*time.Second, "the test channel is a child", func() error {
		if children = p.children(); len(children) != 1 || !strings.Contains(children[0], "ffmpeg") {
			return fmt.Errorf("children = %q", children)
		}
		return nil
	})
	if err := p.stop(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	if left := p.leftBehind(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	for _, address := range []string{p.public, p.private, p.rtmp} {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			conn.Close()
			t.Errorf("%s still listens", address)
		}
	}
}

// The publisher is killed and comes back; the viewer sees the picture again without doing anything.
func TestAViewerOutlivesThePublisher(t *testing.T) {
	p := serve(t)
	first := p.publish(t, "match")
	p.playable(t, "match", "index.m3u8")
	chromium := browser(t)
	tabs := make(map[string]context.Context)
	for _, player := range []string{"hls", "dash", "shaka"} {
		tabs[player], _ = tab(t, chromium, fmt.Sprintf("http://%s/watch/match?player=%s", p.public, player))
		playing(t, tabs[player], 15*time.Second)
	}
	first.kill()
	waitFor(t, 5*time.Second, "the stream ends", func() error {
		var list struct {
			Streams []struct{ Name, State string } `json:"streams"`
		}
		if err := p.get("/api/v1/streams", &list); err != nil {
			return err
		}
		if len(list.Streams) != 1 || list.Streams[0].State != "interrupted" {
			return fmt.Errorf("streams are %v, want one that is interrupted", list.Streams)
		}
		return nil
	})
	// Long enough that every player has played all it had.
	pause(t, 8*time.Second)
	p.publish(t, "match")
	for player, ctx := range tabs {
		t.Run(player, func(t *testing.T) {
			playing(t, ctx, 30*time.Second)
			screenshot(t, ctx, "resumed-"+player)
		})
	}
}

// pause lets the world go on for a while: here the passing of time is what is tested.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// Garbage on the RTMP port is nobody's trouble.
func TestGarbageOnTheRTMPPort(t *testing.T) {
	p := serve(t)
	p.publish(t, "steady")
	p.playable(t, "steady", "index.m3u8")
	for _, garbage := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x03" + strings.Repeat("\x00", 4000), strings.Repeat("\xff", 1<<16)} {
		conn, err := net.Dial("tcp", p.rtmp)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, garbage)
		_ = conn.(*net.TCPConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
				t.Errorf("the connection with %.10q is still open", garbage)
			}
		}
		conn.Close()
	}
	sequence := mediaSequence(t, p, "steady")
	waitFor(t, 10*time.Second, "the stream goes on", func() error {
		if now := mediaSequence(t, p, "steady"); now == sequence {
			return fmt.Errorf("the playlist still ends with %s", now)
		}
		return nil
	})
}

// mediaSequence returns the last segment that the video playlist names.
func mediaSequence(t *testing.T, p *program, stream string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(p.playable(t, stream, "video.m3u8")), "\n")
	return lines[len(lines)-1]
}

// Minutes with viewers, and nothing grows: not the memory, not the goroutines. Then everything goes, and
// nothing is left. How long the program takes until its heap and the store's buffers are as large as they
// get depends on the machine, so a minute without growth is waited for; what leaks never has one.
func TestNothingGrows(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	// What is held is bounded by configuration: the edge's cache, the packager's window, the store's
	// buffers. The bounds are set low here, so that they are reached before the first look.
	p := serve(t, "--test-channel", "--set", "live.packager.window=12s",
		"--set", "cdn.cache.capacity_bytes=6000000", "--set", "cdn.cache.max_object_bytes=1000000",
		"--set", "telemetry.store.memory_limit=32MB")
	p.playable(t, "test", "index.m3u8")
	ctx, cancel := context.WithCancel(t.Context())
	var viewers sync.WaitGroup
	failures := make(chan error, 100)
	for i := range 10 {
		viewers.Go(func() { view(ctx, p, fmt.Sprintf("soak-%d", i), failures) })
	}
	type sample struct{ memory, goroutines float64 }
	measure := func() sample {
		// The least of several, because a collection may be due at any one of them.
		least := sample{1 << 62, 1 << 62}
		for range 10 {
			pause(t, 500*time.Millisecond)
			least.memory = min(least.memory, p.metric("process_resident_memory_bytes"))
			least.goroutines = min(least.goroutines, p.metric("go_goroutines"))
		}
		return least
	}
	pause(t, 25*time.Second)
	before := measure()
	first := before.goroutines
	settled := false
	for minute := 1; minute <= 5 && !settled; minute++ {
		pause(t, 55*time.Second)
		after := measure()
		t.Logf("minute %d: memory %.1f → %.1f MB, goroutines %.0f → %.0f",
			minute, before.memory/1e6, after.memory/1e6, before.goroutines, after.goroutines)
		settled = after.memory <= 1.03*before.memory && after.goroutines <= before.goroutines+2
		before = after
	}
	cancel()
	viewers.Wait()
	select {
	case err := <-failures:
		t.Errorf("a viewer saw: %v", err)
	default:
	}
	if !settled {
		t.Errorf("memory or goroutines have grown in each of five minutes, to %.1f MB and %.0f", before.memory/1e6, before.goroutines)
	}
	if before.goroutines > first+5 {
		t.Errorf("goroutines have grown from %.0f to %.0f", first, before.goroutines)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if left := p.leftBehind(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// view plays HLS as a small player would: it polls the playlist and fetches each new segment once,
// with CMCD.
func view(ctx context.Context, p *program, sid string, failures chan<- error) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	fetch := func(name, keys string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet,
			"http://"+p.public+"/live/test/"+name+"?CMCD="+keys+"%2Csid%3D%22"+sid+"%22%2Csf%3Dh%2Cst%3Dl", nil)
		if err != nil {
			return "", err
		}
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", name, resp.Status)
		}
		return string(body), err
	}
	have := make(map[string]bool)
	for ctx.Err() == nil {
		playlist, err := fetch("video.m3u8", "ot%3Dm")
		for line := range strings.Lines(playlist) {
			if name := strings.TrimSpace(line); name != "" && !strings.HasPrefix(name, "#") && !have[name] && err == nil {
				have[name] = true
				_, err = fetch(path.Base(name), "bl%3D4000%2Cbr%3D2000%2Cd%3D2000%2Cot%3Dv")
			}
		}
		if err != nil && ctx.Err() == nil {
			select {
			case failures <- err:
			default:
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// weir mcp speaks over stdio for the program that runs.
func TestMCPOverStdio(t *testing.T) {
	p := serve(t)
	p.publish(t, "talk")
	p.playable(t, "talk", "index.m3u8")
	req, err := http.NewRequest(http.MethodGet, "http://"+p.public+"/live/talk/index.m3u8?CMCD=ot%3Dm%2Csid%3D%22stdio-1%22", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	cmd := exec.Command(p.cmd.Path, "mcp", "--private", p.private)
	cmd.Env = cleanEnvironment()
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	tools, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, tool := range tools.Tools {
		names[tool.Name] = true
	}
	for _, want := range []string{"get_average_bitrate", "get_session_details", "analyze_buffer_events", "identify_playback_errors"} {
		if !names[want] {
			t.Errorf("there is no tool %s, only %v", want, names)
		}
	}
	waitFor(t, 10*time.Second, "the session is known over stdio", func() error {
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "get_session_details", Arguments: map[string]any{"session": "stdio-1"}})
		if err != nil {
			return err
		}
		if result.IsError {
			return fmt.Errorf("%s", text(result))
		}
		return nil
	})
}
