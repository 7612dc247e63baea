// Package bustest is the contract of a telemetry bus, as tests that every bus must pass.
package bustest
