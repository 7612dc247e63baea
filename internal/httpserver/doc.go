// Package httpserver runs an HTTP handler on a listener: limits against slow and greedy clients,
// and a stop that lets the requests in flight finish.
package httpserver
