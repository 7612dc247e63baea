// Package app is the roof: it reads the command line and the configuration, constructs every part,
// joins the parts by hand, and runs them in order. Nothing else knows more than its own area, and
// nothing here does any work of its own.
//
// One file per role (origin.go, edge.go, telemetry.go, analytics.go, console.go) constructs what
// that role runs; node.go joins them and gives the order.
package app
