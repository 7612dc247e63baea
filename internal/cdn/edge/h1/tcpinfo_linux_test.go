package h1

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What x/sys generates from the kernel's headers is where kernelInfo has it.
func TestKernelInfoIsLaidOutAsTheKernels(t *testing.T) {
	var ours kernelInfo
	var theirs unix.TCPInfo
	for _, f := range []struct {
		name         string
		ours, theirs uintptr
	}{
		{"snd_mss", unsafe.Offsetof(ours.sndMSS), unsafe.Offsetof(theirs.Snd_mss)},
		{"rtt", unsafe.Offsetof(ours.rtt), unsafe.Offsetof(theirs.Rtt)},
		{"rttvar", unsafe.Offsetof(ours.rttvar), unsafe.Offsetof(theirs.Rttvar)},
		{"snd_cwnd", unsafe.Offsetof(ours.cwnd), unsafe.Offsetof(theirs.Snd_cwnd)},
		{"total_retrans", unsafe.Offsetof(ours.totalRetrans), unsafe.Offsetof(theirs.Total_retrans)},
		{"notsent_bytes", unsafe.Offsetof(ours.notSent), unsafe.Offsetof(theirs.Notsent_bytes)},
		{"min_rtt", unsafe.Offsetof(ours.minRTT), unsafe.Offsetof(theirs.Min_rtt)},
		{"delivery_rate", unsafe.Offsetof(ours.deliveryRate), unsafe.Offsetof(theirs.Delivery_rate)},
		{"busy_time", unsafe.Offsetof(ours.busyTime), unsafe.Offsetof(theirs.Busy_time)},
		{"rwnd_limited", unsafe.Offsetof(ours.rwndLimited), unsafe.Offsetof(theirs.Rwnd_limited)},
		{"sndbuf_limited", unsafe.Offsetof(ours.sndbufLimited), unsafe.Offsetof(theirs.Sndbuf_limited)},
		{"bytes_sent", unsafe.Offsetof(ours.bytesSent), unsafe.Offsetof(theirs.Bytes_sent)},
		{"bytes_retrans", unsafe.Offsetof(ours.bytesRetrans), unsafe.Offsetof(theirs.Bytes_retrans)},
	} {
		if f.ours != f.theirs {
			t.Errorf("%s is at %d, want %d", f.name, f.ours, f.theirs)
		}
	}
	if end, flags := unsafe.Offsetof(theirs.Options)+1, unsafe.Offsetof(ours.flags); flags != end+1 {
		t.Errorf("the flags are at %d, want %d: after the window scales", flags, end+1)
	}
}
