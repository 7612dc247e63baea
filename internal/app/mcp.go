package app

import (
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/internal/console/mcp"
)

func newMCP(line *commandLine, stdout, stderr io.Writer) *cobra.Command {
	var url string
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Serve MCP over stdio, for agents that start their servers themselves",
		Long: `Offers over stdio what the running program offers at its /mcp address: the tools that answer questions
about sessions and metrics. Start 'weir serve' first.`,
		Example: `  weir mcp
  weir mcp --url http://10.0.0.5:8090/mcp
  claude mcp add weir -- weir mcp`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := line.load(environ())
			if err != nil {
				return err
			}
			if url == "" {
				url = "http://" + dialable(c.Private.Address) + "/mcp"
			}
			log, _ := newLog(c.Log, stderr)
			return mcp.Proxy(cmd.Context(), mcp.ProxySettings{
				Endpoint: url, In: os.Stdin, Out: nopCloser{stdout}, Version: version, Log: log,
			})
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "the running program's MCP address (default: /mcp at the private address)")
	return cmd
}

// nopCloser leaves the process's output open.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// dialable returns a configured address as one to connect to.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
