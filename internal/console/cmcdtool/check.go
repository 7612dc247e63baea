package cmcdtool

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weir-stream/weir/cmcd/validate"
)

// Report says what [Validate] writes.
type Report struct {
	JSON   bool
	Strict bool // warnings count as errors do
	Quiet  bool // only errors are written
}

// ViolationsError says that an input has records with errors.
type ViolationsError struct{ Records, Errors, Warnings int }

func (e *ViolationsError) Error() string {
	found := "in " + count(e.Records, "record")
	if e.Errors == 0 {
		return count(e.Warnings, "warning") + " " + found
	}
	return count(e.Errors, "error") + " " + found
}

// Validate writes the issues of every record of the input. The error is a [*ViolationsError] if
// there are errors, or with Strict warnings.
func Validate(ctx context.Context, w io.Writer, in Input, look Look, report Report) error {
	look.Validate = true
	passed := 0
	var sum ViolationsError
	for p, err := range in.pieces(ctx, &passed) {
		if err != nil {
			return err
		}
		for f := range p.Records(look) {
			sum.Records++
			for _, issue := range f.Issues {
				if issue.isError() {
					sum.Errors++
				} else {
					sum.Warnings++
				}
			}
			if report.Quiet {
				f.Issues = slices.DeleteFunc(f.Issues, func(i Issue) bool { return !i.isError() })
			}
			if err := report.write(w, &f); err != nil {
				return err
			}
		}
	}
	if sum.Records == 0 {
		return in.nothing(passed)
	}
	if !report.JSON && !report.Quiet {
		line := fmt.Sprintf("%s, %s, %s", count(sum.Records, "record"), count(sum.Errors, "error"), count(sum.Warnings, "warning"))
		if passed > 0 {
			line += fmt.Sprintf("; passed over %d without CMCD", passed)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	if sum.Errors > 0 || report.Strict && sum.Warnings > 0 {
		return &sum
	}
	return nil
}

func (r Report) write(w io.Writer, f *Found) error {
	if r.Quiet && len(f.Issues) == 0 {
		return nil
	}
	if r.JSON {
		return writeJSON(w, f)
	}
	if len(f.Issues) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", f.title())
	keys := 0
	for _, issue := range f.Issues {
		keys = max(keys, min(len(issue.Key), widestKey))
	}
	for _, issue := range f.Issues {
		sign := "! warning"
		if issue.isError() {
			sign = "✗ error  "
		}
		fmt.Fprintf(&b, "  %s  ", sign)
		if keys > 0 {
			fmt.Fprintf(&b, "%-*s  ", keys, printable(issue.Key))
		}
		fmt.Fprintf(&b, "%s (%s)\n", printable(issue.Message), issue.rule())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (i *Issue) isError() bool { return i.Severity == string(validate.Error) }

// rule names the rule, and the section that it stands in, if it does.
func (i *Issue) rule() string {
	if i.Section == "" {
		return i.Rule
	}
	return i.Rule + ", " + i.Section
}
