// Package problem turns errors into HTTP answers in the format of RFC 9457
// (application/problem+json). It is the only place where an error becomes a status code.
package problem
