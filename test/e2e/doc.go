// Package e2e tests the built program with real peers: ffmpeg publishes, ffprobe and three players in
// a real browser play, an MCP client asks. Run it with make e2e, which builds bin/weir first.
package e2e
