package app

import (
	"fmt"
	"net"
	"strings"
)

// testStream is the stream that the test channel publishes.
const testStream = "test"

// addresses are where a node can be reached from this machine.
type addresses struct {
	public, private, rtmp net.Addr
}

func (n *node) addresses() addresses {
	return addresses{public: n.public.Addr(), private: n.private.Addr(), rtmp: n.origin.rtmp.Addr()}
}

// reachable returns address as somebody on this machine dials it: a listener on all interfaces is
// reached through the loopback one.
func reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// loopback reports whether only this machine can reach address.
func loopback(address net.Addr) bool {
	host, _, err := net.SplitHostPort(address.String())
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func (a addresses) watch(stream string) string {
	return fmt.Sprintf("http://%s/watch/%s", reachable(a.public), stream)
}

func (a addresses) media(stream, object string) string {
	return fmt.Sprintf("http://%s/live/%s/%s", reachable(a.public), stream, object)
}

func (a addresses) rtmpFor(stream string) string {
	// The port is left out where it is the scheme's own, as encoders show it.
	return fmt.Sprintf("rtmp://%s/live/%s", strings.TrimSuffix(reachable(a.rtmp), ":1935"), stream)
}

func (a addresses) dashboard() string { return fmt.Sprintf("http://%s/", reachable(a.private)) }
func (a addresses) mcp() string       { return fmt.Sprintf("http://%s/mcp", reachable(a.private)) }

// banner is what serve prints when everything is ready.
func (a addresses) banner(stream string, playing bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nweir %s is ready\n\n", version)
	row := func(what, address string) { fmt.Fprintf(&b, "  %-12s %s\n", what, address) }
	row("Watch", a.watch(stream))
	row("Dashboard", a.dashboard())
	row("HLS", a.media(stream, "index.m3u8"))
	row("DASH", a.media(stream, "manifest.mpd"))
	row("Publish", a.rtmpFor(stream))
	row("MCP", a.mcp()+"   (or: weir mcp)")
	if !playing {
		fmt.Fprintf(&b, "\nNothing is published yet. Point an encoder at the address above, or run:\n\n"+
			"  ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine \\\n"+
			"    -c:v libx264 -preset veryfast -tune zerolatency -g 30 -pix_fmt yuv420p -c:a aac -f flv %s\n", a.rtmpFor(stream))
	}
	b.WriteString("\nCtrl-C stops it.\n")
	return b.String()
}
