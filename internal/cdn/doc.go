// Package cdn is the vocabulary of delivery: what kinds of object there are, and what a cache did
// with a request for one. It has no behaviour; the engines are the packages below it.
package cdn
