package cmcdtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
)

// ArgumentError says that what was asked for on the command line cannot be meant.
type ArgumentError struct{ Err error }

func (e *ArgumentError) Error() string { return e.Err.Error() }
func (e *ArgumentError) Unwrap() error { return e.Err }

// Input is what a command reads: arguments, files, or standard input.
type Input struct {
	Args  []string // each a line; "-" alone is standard input
	Files []string // "-" is standard input
	Stdin io.Reader
	As    Form // "" to find it out
}

// pieces iterates over the pieces of the input, and says how much had none by adding to passed. An
// error ends it.
func (in *Input) pieces(ctx context.Context, passed *int) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		_ = in.each(func(source string, from io.Reader) error {
			r := NewReader(from, source, in.As)
			defer func() { *passed += r.Passed }()
			for p, err := range r.Pieces() {
				if err == nil {
					err = ctx.Err()
				}
				if !yield(p, err) || err != nil {
					return errStop
				}
			}
			return nil
		}, func(err error) { yield(Piece{}, err) })
	}
}

// each calls use with every source of the input, until it returns an error; failed with the error of
// a file that cannot be opened.
func (in *Input) each(use func(source string, from io.Reader) error, failed func(error)) error {
	if len(in.Args) > 0 && (len(in.Args) > 1 || in.Args[0] != "-") {
		// Header lines of one request may be several arguments.
		if err := use("", strings.NewReader(strings.Join(in.Args, "\n"))); err != nil {
			return err
		}
	} else if len(in.Files) == 0 {
		return use("", in.Stdin)
	}
	for _, name := range in.Files {
		if err := in.file(name, use, failed); err != nil {
			return err
		}
	}
	return nil
}

func (in *Input) file(name string, use func(source string, from io.Reader) error, failed func(error)) error {
	if name == "-" {
		return use("", in.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		failed(err)
		return err
	}
	defer f.Close()
	return use(name, f)
}

// nothing is the error of an input without CMCD.
func (in *Input) nothing(passed int) error {
	if passed == 0 {
		return errors.New("no CMCD found: the input is empty")
	}
	for _, arg := range in.Args {
		if _, err := os.Stat(arg); err == nil {
			return fmt.Errorf("no CMCD found in the arguments; to read the file %s, use -f %s", arg, arg)
		}
	}
	found := "what was read"
	if in.As != "" {
		found = "what was read as " + string(in.As)
	}
	return fmt.Errorf("no CMCD found in %s (%s without any); --as says what the input is", found, count(passed, "piece"))
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
