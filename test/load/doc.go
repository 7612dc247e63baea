// Package load measures the built program against named peers in the same run: nginx with its RTMP
// module. Run it with make load; the figures belong in docs/performance.md. Without -measure its
// tests are skipped, since they take minutes and want a quiet machine.
package load
