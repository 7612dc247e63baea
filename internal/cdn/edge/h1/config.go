package h1

import (
	"fmt"
	"time"
)

// Config is what users write about the edge's HTTP/1.1 connections.
type Config struct {
	// HeaderBytes bounds a request's head. What is longer is refused with 431.
	HeaderBytes int `yaml:"header_bytes"`
	// HeaderTimeout bounds the time from a connection's beginning, or from the first byte of a later request, to the
	// end of the head; IdleTimeout the time between two requests.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	IdleTimeout   time.Duration `yaml:"idle_timeout"`
	// StallTimeout is how long a client may take nothing of its answer.
	StallTimeout time.Duration `yaml:"stall_timeout"`
	// SendfileBytes is the size from which a body goes from the file to the socket without being mapped; smaller ones
	// are cheaper to write from memory.
	SendfileBytes int64 `yaml:"sendfile_bytes"`
	// TCPInfoBytes is the size of body from which the kernel is asked how the connection fared.
	TCPInfoBytes int64 `yaml:"tcp_info_bytes"`
	// TCPInfoEvery has the kernel asked after every so many smaller answers of a connection as well; 0 is never.
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
	for _, v := range []struct {
		key   string
		value any
		ok    bool
		want  string
	}{
		{"header_bytes", c.HeaderBytes, c.HeaderBytes >= 512 && c.HeaderBytes <= 1<<20, "a number from 512 to 1048576"},
		{"header_timeout", c.HeaderTimeout, c.HeaderTimeout > 0, "a duration of more than 0s"},
		{"idle_timeout", c.IdleTimeout, c.IdleTimeout > 0, "a duration of more than 0s"},
		{"stall_timeout", c.StallTimeout, c.StallTimeout > 0, "a duration of more than 0s"},
		{"sendfile_bytes", c.SendfileBytes, c.SendfileBytes >= 0, "a number from 0"},
		{"tcp_info_bytes", c.TCPInfoBytes, c.TCPInfoBytes >= 0, "a number from 0"},
		{"tcp_info_every", c.TCPInfoEvery, c.TCPInfoEvery >= 0, "a number from 0"},
	} {
		if !v.ok {
			return fmt.Errorf("%s is %v; %s is expected", v.key, v.value, v.want)
		}
	}
	return nil
}
