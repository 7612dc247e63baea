package app

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

func newConfig(line *commandLine, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the configuration that serve would use, or a file",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				line.file = args[0]
			}
			if _, err := line.load(environ()); err != nil {
				return err
			}
			_, err := fmt.Fprintln(stdout, "the configuration is valid")
			return err
		},
	}, &cobra.Command{
		Use:   "show",
		Short: "Print every setting with the value that serve would use, as YAML",
		RunE: func(*cobra.Command, []string) error {
			c, err := line.load(environ())
			if err != nil {
				return err
			}
			encoder := yaml.NewEncoder(stdout)
			encoder.SetIndent(2)
			if err := encoder.Encode(c); err != nil {
				return err
			}
			return encoder.Close()
		},
	})
	return cmd
}
