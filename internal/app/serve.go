package app

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/internal/cdn/upstream"
	"github.com/weir-stream/weir/internal/config"
)

func newServe(line *commandLine, stdout, stderr io.Writer) *cobra.Command {
	var testChannel bool
	var origins []string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run everything on this machine",
		Long: `Takes streams in over RTMP, packages and delivers them, measures every viewer, and serves the
dashboard, the API and MCP: all in this process, with nothing to set up. What is kept goes to --data.

With --role edge it is a caching edge alone, in front of the HTTP origins that --origin names.

SIGHUP reads the configuration again; SIGUSR2 starts a successor of an edge, which takes its place without
refusing anybody.`,
		Example: `  weir serve
  weir serve --test-channel
  WEIR_LIVE_RTMP_ADDRESS=:1936 weir serve --listen :80 --data /var/lib/weir
  weir serve --role edge --origin https://origin.example --listen :8080`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (config.Config, error) {
				return line.load(environ(), func(c *config.Config) {
					for _, origin := range origins {
						c.CDN.Upstream.Origins = append(c.CDN.Upstream.Origins, upstream.OriginConfig{URL: origin})
					}
				})
			}
			c, err := load()
			if err != nil {
				return err
			}
			if testChannel && c.Role != config.RoleAll {
				return usageError{errors.New("--test-channel: an edge alone has no streams of its own")}
			}
			log, level := newLog(c.Log, stderr)
			p, err := newProcess(log, level, load)
			if err != nil {
				return err
			}
			defer p.close()
			if c.Role == config.RoleEdge {
				defer layBallast()()
			}
			n, err := newNode(cmd.Context(), c, testChannel, p)
			if err != nil {
				return err
			}
			if !loopback(n.private.Addr()) {
				log.Warn("the private listener can be reached from other machines and has no authentication", "address", n.private.Addr())
			}
			return n.run(cmd.Context(), func() {
				_, _ = io.WriteString(stdout, n.banner(testChannel))
			})
		},
	}
	cmd.Flags().BoolVar(&testChannel, "test-channel", false, "publish bars, a clock and a tone as the stream \""+testStream+"\" (needs ffmpeg)")
	cmd.Flags().StringArrayVar(&origins, "origin", nil, "URL of an origin for --role edge (may be repeated)")
	line.named["role"] = cmd.Flags().String("role", "", "all or edge (default all)")
	return cmd
}
