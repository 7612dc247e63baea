package app

import (
	"fmt"
	"net"
	"strings"

	"github.com/weir-stream/weir/internal/config"
	"github.com/weir-stream/weir/internal/console/rest"
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

// reachable returns address as somebody dials it who knows this machine by the name host: a listener
// on all interfaces is reached by that name, any other only by its own address.
func reachable(address net.Addr, host string) string {
	own, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	if ip := net.ParseIP(own); ip != nil && !ip.IsUnspecified() {
		host = own
	}
	return net.JoinHostPort(host, port)
}

// loopback reports whether only this machine can reach address.
func loopback(address net.Addr) bool {
	host, _, err := net.SplitHostPort(address.String())
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// from returns the addresses for somebody who knows this machine by the name host.
func (a addresses) from(host string) rest.Addresses {
	public := reachable(a.public, host)
	return rest.Addresses{
		Watch: "http://" + public + "/watch/{stream}",
		HLS:   "http://" + public + "/live/{stream}/index.m3u8",
		DASH:  "http://" + public + "/live/{stream}/manifest.mpd",
		// The port is left out where it is the scheme's own, as encoders show it.
		RTMP: "rtmp://" + strings.TrimSuffix(reachable(a.rtmp, host), ":1935") + "/live/{stream}",
		MCP:  "http://" + reachable(a.private, host) + "/mcp",
	}
}

// local returns the addresses for this machine itself, for one stream.
func (a addresses) local(stream string) rest.Addresses {
	all := a.from("localhost")
	for _, address := range []*string{&all.Watch, &all.HLS, &all.DASH, &all.RTMP} {
		*address = strings.ReplaceAll(*address, "{stream}", stream)
	}
	return all
}

func (a addresses) dashboard() string { return "http://" + reachable(a.private, "localhost") + "/" }

// banner is what serve prints when everything is ready.
func (n *node) banner(playing bool) string {
	if n.config.Role == config.RoleAll {
		return n.addresses().banner(testStream, playing)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nweir %s is ready\n\n", version)
	scheme := "http"
	if n.config.Public.TLS.Enabled() {
		scheme = "https"
	}
	fmt.Fprintf(&b, "  %-12s %s://%s/\n", "Edge", scheme, reachable(n.public.Addr(), "localhost"))
	for _, origin := range n.config.CDN.Upstream.Origins {
		fmt.Fprintf(&b, "  %-12s %s\n", "Origin", origin.URL)
	}
	fmt.Fprintf(&b, "  %-12s http://%s/metrics\n", "Metrics", reachable(n.private.Addr(), "localhost"))
	b.WriteString("\nCtrl-C stops it.\n")
	return b.String()
}

// banner is what serve prints when everything is ready.
func (a addresses) banner(stream string, playing bool) string {
	at := a.local(stream)
	var b strings.Builder
	fmt.Fprintf(&b, "\nweir %s is ready\n\n", version)
	row := func(what, address string) { fmt.Fprintf(&b, "  %-12s %s\n", what, address) }
	row("Watch", at.Watch)
	row("Dashboard", a.dashboard())
	row("HLS", at.HLS)
	row("DASH", at.DASH)
	row("Publish", at.RTMP)
	row("MCP", at.MCP+"   (or: weir mcp)")
	if !playing {
		fmt.Fprintf(&b, "\nNothing is published yet. Point an encoder at the address above, or run:\n\n"+
			"  ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine \\\n"+
			"    -c:v libx264 -preset veryfast -tune zerolatency -g 30 -pix_fmt yuv420p -c:a aac -f flv %s\n", at.RTMP)
	}
	b.WriteString("\nCtrl-C stops it.\n")
	return b.String()
}
