//go:build !linux

package h1

import (
	"net"
	"syscall"
)

// rawOf gives no access to the socket: elsewhere than on Linux everything goes through net.Conn, and what
// follows is never called.
func rawOf(net.Conn) syscall.RawConn { return nil }

func read(uintptr, []byte) (n int, blocked bool, err error) { return 0, false, syscall.ENOSYS }

func send(uintptr, *[3][]byte, bool) (n int, blocked bool, err error) {
	return 0, false, syscall.ENOSYS
}

func sendFile(_, _ uintptr, _ *int64, _ int) (sent int, blocked bool, err error) {
	return 0, false, syscall.ENOSYS
}

func unacknowledged(uintptr) int64 { return 0 }

func setPace(uintptr, int64) {}

func sample(uintptr, *TCPInfo) bool { return false }
