package h1

import (
	"fmt"
	"time"
)

// Config is what users write about the edge's HTTP/1.1 connections.
type Config struct {
	// HeaderBytes bounds a request's head. What is longer is refused with 431.
	HeaderBytes int `yaml:"header_bytes"`
	// HeaderTimeout bounds the time from a connection's beginning, or from the first byte of a later
	// request, to the end of the head; IdleTimeout the time between two requests.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	IdleTimeout   time.Duration `yaml:"idle_timeout"`
	// StallTimeout is how long a client may take nothing of its answer.
	StallTimeout time.Duration `yaml:"stall_timeout"`
	// SendfileBytes is the size from which a body goes from the file to the socket without being
	// mapped; smaller ones are cheaper to write from memory.
	SendfileBytes int64 `yaml:"sendfile_bytes"`
	// TCPInfoBytes is the size of body from which the kernel is asked how the connection fared.
	TCPInfoBytes int64 `yaml:"tcp_info_bytes"`
	// TCPInfoEvery has the kernel asked after every so many smaller answers of a connection as well;
	// 0 is never.
	TCPInfoEvery int `yaml:"tcp_info_every"`
}

// DefaultConfig returns the configuration of an edge that nobody has configured.
func DefaultConfig() Config {
	return Config{
		HeaderBytes:   32 << 10,
		HeaderTimeout: 10 * time.Second,
		IdleTimeout:   75 * time.Second,
		StallTimeout:  30 * time.Second,
		SendfileBytes: 128 << 10,
		TCPInfoBytes:  64 << 10,
	}
}

// Validate reports the first value that cannot be.
func (c Config) Validate() error {
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"header_timeout", c.HeaderTimeout}, {"idle_timeout", c.IdleTimeout}, {"stall_timeout", c.StallTimeout},
	} {
		if d.value <= 0 {
			return fmt.Errorf("%s is %v; a duration of more than 0s is expected", d.key, d.value)
		}
	}
	for _, n := range []struct {
		key          string
		value, least int64
	}{
		{"header_bytes", int64(c.HeaderBytes), 512},
		{"sendfile_bytes", c.SendfileBytes, 0},
		{"tcp_info_bytes", c.TCPInfoBytes, 0},
		{"tcp_info_every", int64(c.TCPInfoEvery), 0},
	} {
		if n.value < n.least || n.value > 1<<30 {
			return fmt.Errorf("%s is %d; a number from %d to 2^30 is expected", n.key, n.value, n.least)
		}
	}
	return nil
}
