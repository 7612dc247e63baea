package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/internal/config"
)

// Main runs the program with the arguments that follow its name and returns the exit code: 0 for
// success, 1 for a failure, 2 for a command line or configuration that cannot be used.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// The first signal asks the parts to stop in order; a second one means now.
	context.AfterFunc(ctx, stop)

	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "weir: %v\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "weir: %v\n", err)
		return 1
	}
}

// usageError is a command line or configuration that cannot be used.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// commandLine is what the flags that every command has say.
type commandLine struct {
	file string
	set  []string
	// named are flags of their own for the settings that are changed most, by key.
	named map[string]*string
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	line := &commandLine{named: make(map[string]*string)}
	root := &cobra.Command{
		Use:   "weir",
		Short: "Deliver streaming video and measure what every viewer got",
		Long: `Weir takes live streams in, packages them, delivers them through its own caching edge, and measures
what every viewer got, so that it can say whose fault it was when a picture froze.

Settings come from weir.yaml (or --config), over that from WEIR_… variables, over that from flags.`,
		Example: `  weir serve --test-channel       start everything, with bars and a clock to watch
  weir doctor                     see whether this machine has what it takes
  weir mcp                        let an agent ask about sessions, over stdio`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\nrun '%s --help' for the flags there are", err, cmd.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVarP(&line.file, "config", "c", "", "configuration file (default "+config.DefaultFile+", if there is one)")
	flags.StringArrayVar(&line.set, "set", nil, "a setting as key=value, such as live.rtmp.address=:1936 (may be repeated)")
	for _, f := range []struct{ flag, key, help string }{
		{"data", "data", "folder for everything that is kept (default ./weir-data)"},
		{"listen", "public.address", "public address: media, watch page, CMCD (default :8080)"},
		{"private", "private.address", "private address: dashboard, API, MCP, metrics (default 127.0.0.1:8090)"},
		{"rtmp", "live.rtmp.address", "address for RTMP publishers (default :1935)"},
		{"log-level", "log.level", "debug, info, warn or error (default info)"},
	} {
		line.named[f.key] = flags.String(f.flag, "", f.help)
	}
	root.AddCommand(
		newServe(line, stdout, stderr),
		newMCP(line, stdout, stderr),
		newPurge(line, stdout, stderr),
		newSign(line, stdout, stderr),
		newDoctor(line, stdout),
		newCMCD(stdout, stderr),
		newConfig(line, stdout),
		newVersion(stdout),
	)
	for _, cmd := range root.Commands() {
		wrapArgs(cmd)
	}
	return root
}

// knownCommand refuses an argument in the place of a command, and names the command that was meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usageError{fmt.Errorf("%w; did you mean %q?", err, near[0])}
	}
	return usageError{fmt.Errorf("%w; run '%s --help' for the commands there are", err, cmd.CommandPath())}
}

// wrapArgs makes usage errors of what cobra says about a command's arguments.
func wrapArgs(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		check = cobra.NoArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
	for _, child := range cmd.Commands() {
		wrapArgs(child)
	}
}

// load returns the configuration that the sources make together.
func (l *commandLine) load(environ []string, change ...func(*config.Config)) (config.Config, error) {
	set := make(map[string]string)
	for _, entry := range l.set {
		key, value, ok := strings.Cut(entry, "=")
		if !ok {
			return config.Config{}, usageError{fmt.Errorf("--set %q is not key=value", entry)}
		}
		set[key] = value
	}
	for key, value := range l.named {
		if *value != "" {
			set[key] = *value
		}
	}
	c, err := config.Load(config.Sources{File: l.file, Environ: environ, Set: set, Change: change})
	if err != nil {
		return config.Config{}, usageError{err}
	}
	return c, nil
}

// environ is the process's environment; it is read here and nowhere else.
func environ() []string { return os.Environ() }
