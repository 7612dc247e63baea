package h1_test

import (
	"strings"
	"testing"

	"github.com/weir-stream/weir/internal/cdn/edge/h1"
)

func TestValidate(t *testing.T) {
	if err := h1.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		change func(*h1.Config)
		want   string
	}{
		{func(c *h1.Config) { c.HeaderBytes = 0 }, "header_bytes is 0; a number from 512 to 1048576 is expected"},
		{func(c *h1.Config) { c.HeaderBytes = 2 << 20 }, "header_bytes is 2097152; a number from 512 to 1048576 is expected"},
		{func(c *h1.Config) { c.HeaderTimeout = 0 }, "header_timeout is 0s; a duration of more than 0s is expected"},
		{func(c *h1.Config) { c.IdleTimeout = -1 }, "idle_timeout is -1ns; a duration of more than 0s is expected"},
		{func(c *h1.Config) { c.StallTimeout = 0 }, "stall_timeout is 0s; a duration of more than 0s is expected"},
		{func(c *h1.Config) { c.SendfileBytes = -1 }, "sendfile_bytes is -1; a number from 0 is expected"},
		{func(c *h1.Config) { c.TCPInfoBytes = -1 }, "tcp_info_bytes is -1; a number from 0 is expected"},
		{func(c *h1.Config) { c.TCPInfoEvery = -1 }, "tcp_info_every is -1; a number from 0 is expected"},
	} {
		c := h1.DefaultConfig()
		test.change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}
