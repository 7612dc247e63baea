// Package storetest is the contract of a telemetry store, as tests that every store must pass.
package storetest
