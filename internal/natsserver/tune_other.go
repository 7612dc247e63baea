//go:build !linux

package natsserver

import "time"

// Other systems have no such options for a socket.
func impatient(int, time.Duration) {}

func tune(map[uint16]bool, time.Duration) {}
