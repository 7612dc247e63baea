package app

import (
	"io"

	"github.com/spf13/cobra"
)

func newServe(line *commandLine, stdout, stderr io.Writer) *cobra.Command {
	var testChannel bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run everything on this machine",
		Long: `Takes streams in over RTMP, packages and delivers them, measures every viewer, and serves the
dashboard, the API and MCP: all in this process, with nothing to set up. What is kept goes to --data.`,
		Example: `  weir serve
  weir serve --test-channel
  WEIR_LIVE_RTMP_ADDRESS=:1936 weir serve --listen :80 --data /var/lib/weir`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := line.load(environ())
			if err != nil {
				return err
			}
			log := newLog(c.Log, stderr)
			n, err := newNode(cmd.Context(), c, testChannel, log)
			if err != nil {
				return err
			}
			if !loopback(n.private.Addr()) {
				log.Warn("the private listener can be reached from other machines and has no authentication", "address", n.private.Addr())
			}
			return n.Run(cmd.Context(), func() {
				_, _ = io.WriteString(stdout, n.addresses().banner(testStream, testChannel))
			})
		},
	}
	cmd.Flags().BoolVar(&testChannel, "test-channel", false, "publish bars, a clock and a tone as the stream \""+testStream+"\" (needs ffmpeg)")
	return cmd
}
