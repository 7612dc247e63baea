package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/weir-stream/weir/internal/console/cmcdtool"
	"github.com/weir-stream/weir/internal/console/cmcdtool/encode"
	"github.com/weir-stream/weir/internal/console/rest"
)

func newCMCD(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cmcd",
		Short: "Read, check and write CMCD by hand",
		Long: `Reads what players say of themselves (Common Media Client Data, CTA-5004 and CTA-5004-B) from addresses,
header lines, records, bodies and HAR files, and writes it.`,
		Example: `  weir cmcd decode 'https://cdn.example/a.m4s?CMCD=bl%3D6100%2Cot%3Dv'
  weir cmcd validate -f capture.har
  weir cmcd encode sid=s-1 ot=v 'br=(3000;v)' --as headers`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCMCDDecode(stdout), newCMCDValidate(stdout), newCMCDEncode(stdout, stderr))
	return cmd
}

const cmcdInput = `
Each argument is a line of input. Without any, the input is -f FILE or standard input. A line is taken for
what it looks like, or for what --as says:

  url      an address with a CMCD argument, also in the midst of a line of a log
  query    its query, CMCD=…
  headers  CMCD-Request: …, the lines of one request up to an empty line; also whole heads of requests,
           with or without the "> " of curl -v
  record   bl=6100,ot=v: the value of an argument or header, or one line of a body
  body     a whole body of records (only with --as)
  json     the JSON of version 1: an object or an array of them
  har      a HAR file: all of its requests, and the reports that it posts

Lines without CMCD are passed over. A line, a body and a JSON value may have 1 MiB, an entry of a HAR file 64 MiB.`

// cmcdFlags are those that decode and validate share.
type cmcdFlags struct {
	input  cmcdtool.Input
	look   cmcdtool.Look
	as     string
	output string
}

func (f *cmcdFlags) add(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.Flags().StringArrayVarP(&f.input.Files, "file", "f", nil, "read this file, - is standard input (may be repeated)")
	cmd.Flags().StringVar(&f.as, "as", "", "take the input for url, query, headers, record, body, json or har (default: what it looks like)")
	cmd.Flags().StringVar(&f.look.Mode, "mode", "", "the mode of records on their own: request or event (default: event if a key says so)")
	cmd.Flags().StringVarP(&f.output, "output", "o", "table", "table, or json with a record a line")
}

// parse says whether there is anything to read, and an error for what cannot be meant.
func (f *cmcdFlags) parse(args []string) (ok bool, err error) {
	if f.input.As, err = cmcdtool.ParseInputForm(f.as); err != nil {
		return false, usageError{fmt.Errorf("--as: %w", err)}
	}
	if err := oneOf("--output", f.output, "table", "json"); err != nil {
		return false, err
	}
	if err := oneOf("--mode", f.look.Mode, "", "request", "event"); err != nil {
		return false, err
	}
	if n := f.look.PercentDecodings; n < 0 || n > 8 {
		return false, usageError{fmt.Errorf("--percent-decodings %d is not from 1 to 8", n)}
	}
	f.input.Args, f.input.Stdin = args, os.Stdin
	return len(args) > 0 || len(f.input.Files) > 0 || !onTerminal(os.Stdin), nil
}

func oneOf(flag, value string, words ...string) error {
	for _, word := range words {
		if value == word {
			return nil
		}
	}
	if words[0] == "" {
		words = words[1:]
	}
	return usageError{fmt.Errorf("%s %q is not %s or %s", flag, value, words[0], words[1])}
}

// onTerminal reports whether somebody would have to type what is read from f.
func onTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

func newCMCDDecode(stdout io.Writer) *cobra.Command {
	var flags cmcdFlags
	cmd := &cobra.Command{
		Use:   "decode [INPUT]...",
		Short: "Tell what CMCD says",
		Long: `Decodes CMCD as Weir's edge and collector do: leniently. What was put up with is said as warnings.
` + cmcdInput + `

With -o json each record is one line: version, mode, values, warnings, and where it was found. It ends with 1
if there is no CMCD, or none that can be read.`,
		Example: `  weir cmcd decode 'https://cdn.example/a.m4s?CMCD=bl%3D6100%2Cot%3Dv'
  weir cmcd decode 'e=ps,sta=p,ts=1764269150889,sid="s-1",v=2'
  curl -sv -H 'CMCD-Request: bl=6100' https://cdn.example/a.m4s 2>&1 >/dev/null | weir cmcd decode
  weir cmcd decode -f capture.har -o json | jq -r '.values.sid' | sort | uniq -c
  zcat access.log.gz | weir cmcd decode --percent-decodings 2 -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if ok, err := flags.parse(args); !ok || err != nil {
				return helpUnless(cmd, err)
			}
			return cmcdtool.Decode(cmd.Context(), stdout, flags.input, flags.look, flags.output == "json")
		},
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&flags.look.PercentDecodings, "percent-decodings", 1, "how often addresses were percent-encoded: logs often do it once more")
	return cmd
}

func newCMCDValidate(stdout io.Writer) *cobra.Command {
	var flags cmcdFlags
	var report cmcdtool.Report
	cmd := &cobra.Command{
		Use:   "validate [INPUT]...",
		Short: "Tell what is wrong with CMCD",
		Long: `Holds CMCD against the letter of CTA-5004 and CTA-5004-B. What a MUST forbids is an error, what a SHOULD
advises against is a warning; each names the key, the rule and the section.
` + cmcdInput + `

It ends with 1 if there are errors, with --strict also if there are warnings, and if there is no CMCD at all.`,
		Example: `  weir cmcd validate 'https://cdn.example/a.m4s?CMCD=br%3D3000%2Cv%3D2'
  weir cmcd validate -f capture.har
  weir cmcd validate -q --strict -f reports.txt --as body
  weir cmcd validate -o json -f capture.har | jq -r '.issues[].rule' | sort | uniq -c`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if ok, err := flags.parse(args); !ok || err != nil {
				return helpUnless(cmd, err)
			}
			report.JSON = flags.output == "json"
			return cmcdtool.Validate(cmd.Context(), stdout, flags.input, flags.look, report)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&report.Strict, "strict", false, "end with 1 also for warnings")
	cmd.Flags().BoolVarP(&report.Quiet, "quiet", "q", false, "write errors only")
	return cmd
}

func newCMCDEncode(stdout, stderr io.Writer) *cobra.Command {
	var input cmcdtool.Input
	var options encode.Options
	cmd := &cobra.Command{
		Use:   "encode [KEY=VALUE]...",
		Short: "Write CMCD as a player should send it",
		Long: `Makes records of key=value pairs, or of the JSON that decode -o json writes (its lines, or the values alone),
from an argument, -f FILE or standard input. They are prepared as the specification wants them of a player:
sorted, rounded, with v and ts; what may not be sent is left out, and named on standard error.

Written as record (default), body (records separated by line feeds, none at the end), headers, query, or as the
address that --url gives, with the CMCD argument added.`,
		Example: `  weir cmcd encode sid=s-1 ot=v 'br=(3000;v)' bl=6120 --url https://cdn.example/a.m4s
  weir cmcd encode sid=s-1 ot=v br=3000 --version 1 --as headers
  weir cmcd encode e=ps sta=p sid=s-1 --as body | curl --data-binary @- -H 'Content-Type: application/cmcd' http://localhost:8080/cmcd
  weir cmcd decode -o json -f capture.har | weir cmcd encode --version 2`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("--mode", options.Mode, "", "request", "event"); err != nil {
				return err
			}
			if v := options.Version; cmd.Flags().Changed("version") && v != 1 && v != 2 {
				return usageError{fmt.Errorf("--version %d is not 1 or 2", v)}
			}
			if len(args) == 0 && len(input.Files) == 0 && onTerminal(os.Stdin) {
				return cmd.Help()
			}
			input.Args, input.Stdin = args, os.Stdin
			err := encodeCMCD(cmd.Context(), stdout, stderr, input, options)
			if errors.As(err, new(*encode.ArgumentError)) {
				return usageError{err}
			}
			return err
		},
	}
	cmd.Flags().StringArrayVarP(&input.Files, "file", "f", nil, "read JSON from this file, - is standard input (may be repeated)")
	cmd.Flags().StringVar((*string)(&options.As), "as", "", "write it as query, headers, record, body or url (default: record, or url with --url)")
	cmd.Flags().StringVar(&options.URL, "url", "", "address of the request: it gets the CMCD argument, and nor is made relative to it")
	cmd.Flags().IntVar(&options.Version, "version", 0, "version of CMCD, 1 or 2 (default: that of the record; 2 for pairs)")
	cmd.Flags().StringVar(&options.Mode, "mode", "", "request or event (default: that of the record)")
	return cmd
}

// encodeCMCD writes one record of the arguments if they are pairs, else one of each JSON value of the input.
func encodeCMCD(ctx context.Context, stdout, stderr io.Writer, input cmcdtool.Input, options encode.Options) error {
	encoder, err := encode.New(stdout, stderr, options)
	if err != nil {
		return err
	}
	if args := input.Args; len(args) > 0 && args[0] != "-" && !strings.HasPrefix(strings.TrimSpace(args[0]), "{") {
		return encoder.Pairs(args)
	}
	found := false
	for p, err := range input.JSON(ctx) {
		if err != nil {
			return err
		}
		found = true
		if err := encoder.JSON(p.Text); err != nil {
			if place := p.String(); place != "" {
				err = fmt.Errorf("%s: %w", place, err)
			}
			return err
		}
	}
	if !found {
		return errors.New("nothing to encode: the input is empty")
	}
	return nil
}

// helpUnless shows the help of a command, unless there is an error.
func helpUnless(cmd *cobra.Command, err error) error {
	if err != nil {
		return err
	}
	return cmd.Help()
}

// examineCMCD looks at what the API is sent with the eyes of the command line.
func examineCMCD(text rest.CMCDText) iter.Seq[rest.CMCDRecord] {
	return func(yield func(rest.CMCDRecord) bool) {
		piece := cmcdtool.NewPiece(cmcdtool.Form(text.Kind), text.Text, text.ContentType)
		for f := range piece.Records(cmcdtool.Look{Validate: true}) {
			record := rest.CMCDRecord{
				Record: f.Record, Version: f.Version, Mode: f.Mode, Values: f.Values, Warnings: f.Warnings, Error: f.Error,
				Issues: make([]rest.CMCDIssue, len(f.Issues)),
			}
			for i, issue := range f.Issues {
				record.Issues[i] = rest.CMCDIssue(issue)
			}
			if !yield(record) {
				return
			}
		}
	}
}
