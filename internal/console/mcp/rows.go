package mcp

import (
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sheet is the text of an answer: a few lines of prose and rows as CSV, which takes a model about
// half the tokens of JSON.
type sheet struct{ b strings.Builder }

func (s *sheet) line(format string, args ...any) { fmt.Fprintf(&s.b, format+"\n", args...) }

// table writes a header and rows under a title; nothing if there are no rows.
func (s *sheet) table(title string, header []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	s.line("\n%s:", title)
	w := csv.NewWriter(&s.b)
	_ = w.Write(header) // a strings.Builder takes everything
	_ = w.WriteAll(rows)
}

func (s *sheet) text() string { return s.b.String() }

// maxStatement is how much of the SQL the text shows; the structured answer has all of it.
const maxStatement = 600

// origin says where the numbers come from.
func (s *sheet) origin(p Provenance) {
	s.line("\nProvenance: records from %s to %s; %d records of %d sessions; CMCD coverage %.0f %%.", clock(p.From), clock(p.To), p.Records, p.Sessions, p.Coverage*100)
	for _, a := range p.Assumptions {
		s.line("- %s", a)
	}
	if statement := []rune(p.Statement); len(statement) > maxStatement {
		s.line("SQL: %s… (the whole is in provenance.statement)", string(statement[:maxStatement]))
	} else if len(statement) > 0 {
		s.line("SQL: %s", p.Statement)
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// number writes v with three digits after the point at most; +0 makes -0 positive.
func number(v float64) string {
	return strconv.FormatFloat(math.Round(v*1000)/1000+0, 'f', -1, 64)
}

// optional writes what may not be known: as nothing.
func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return number(*v)
}

// Provenance says where the numbers of an answer come from.
type Provenance struct {
	From        time.Time `json:"from" jsonschema:"start of the records that were read"`
	To          time.Time `json:"to" jsonschema:"end of the records that were read"`
	Records     int64     `json:"records" jsonschema:"number of records the answer is made of"`
	Sessions    int64     `json:"sessions" jsonschema:"number of sessions the answer is made of"`
	Coverage    float64   `json:"cmcd_coverage" jsonschema:"share of the requests that carried CMCD"`
	Statement   string    `json:"statement,omitempty" jsonschema:"what the store was asked"`
	Assumptions []string  `json:"assumptions" jsonschema:"choices that were made for the caller, and what the numbers do not say"`
}
