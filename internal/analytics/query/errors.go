package query

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/weir-stream/weir/internal/analytics"
)

// unknown says which name is wrong, what was probably meant, and what there is.
func unknown(sentinel error, name string, names []string) error {
	hint := ""
	if n := nearest(name, names); n != "" {
		hint = fmt.Sprintf(" (did you mean %q?)", n)
	}
	return fmt.Errorf("%w: %q%s; there are %s", sentinel, name, hint, strings.Join(names, ", "))
}

// nearest is the name that looks most like s, "" if none looks like it.
func nearest(s string, names []string) string {
	best, least := "", 1+max(2, len(s)/3)
	for _, name := range names {
		distance := levenshtein.ComputeDistance(strings.ToLower(s), name)
		if s != "" && (strings.Contains(name, strings.ToLower(s)) || strings.Contains(strings.ToLower(s), name)) {
			distance = min(distance, 1)
		}
		if distance < least {
			best, least = name, distance
		}
	}
	return best
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{analytics.ErrInvalidQuery}, args...)...)
}
