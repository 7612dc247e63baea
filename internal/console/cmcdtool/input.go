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
	var sources []string // "" is the arguments
	if len(in.Args) == 1 && in.Args[0] == "-" || len(in.Args)+len(in.Files) == 0 {
		sources = append(sources, "-")
	} else if len(in.Args) > 0 {
		sources = append(sources, "")
	}
	sources = append(sources, in.Files...)
	return func(yield func(Piece, error) bool) {
		for _, name := range sources {
			if !in.source(ctx, name, passed, yield) {
				return
			}
		}
	}
}

// JSON iterates over the JSON values of the input, with the place of each for people. An error ends it.
func (in Input) JSON(ctx context.Context) iter.Seq2[Piece, error] {
	in.As = JSON
	return in.pieces(ctx, new(int))
}

func (in *Input) source(ctx context.Context, name string, passed *int, yield func(Piece, error) bool) bool {
	var from io.Reader
	switch name {
	case "":
		from = strings.NewReader(strings.Join(in.Args, "\n")) // header lines of one request may be several arguments
	case "-":
		from, name = in.Stdin, ""
	default:
		f, err := os.Open(name)
		if err != nil {
			yield(Piece{}, err)
			return false
		}
		defer f.Close()
		from = f
	}
	r := NewReader(from, name, in.As)
	defer func() { *passed += r.Passed }()
	for p, err := range r.Pieces() {
		if err == nil {
			err = ctx.Err()
		}
		if !yield(p, err) || err != nil {
			return false
		}
	}
	return true
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
