package query

import "time"

// Dialect writes the parts of a statement that stores write differently.
type Dialect interface {
	// Quantile is the q-quantile of an expression; NULL of no values.
	Quantile(expression, q string) string
	// Bucket is the start of the interval of length grain in which the column's time lies. It may
	// hold a placeholder; then argument is its value, else argument is nil.
	Bucket(column string, grain time.Duration) (expression string, argument any)
}

// DuckDB writes SQL for DuckDB.
type DuckDB struct{}

// Quantile interpolates between the two nearest values.
func (DuckDB) Quantile(expression, q string) string {
	return "quantile_cont(" + expression + ", " + q + ")"
}

// Bucket begins its intervals at full multiples of the grain since a Monday midnight UTC.
func (DuckDB) Bucket(column string, grain time.Duration) (string, any) {
	return "time_bucket(to_microseconds(?), " + column + ")", grain.Microseconds()
}
