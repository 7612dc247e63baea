// Package message is what requests and answers say, as far as a cache must understand it: which object is
// asked for, whether the client has it already, which part it wants, and what Cache-Status tells it.
// Pure functions on text; the edge is their only user.
package message
