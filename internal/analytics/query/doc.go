// Package query is the one query model: named metrics, dimensions, filters and a range of time in,
// SQL for a store and an [analytics.Result] out. Everybody who asks – the API, the agents, the
// assistant, the alerts – asks here, so that one number has one definition.
//
// Identifiers in a statement come from the catalogue only, values only as parameters: no text of a
// query is ever part of the SQL. A metric that has no record to be computed from is nil, never 0.
package query
