// Package live is the vocabulary of live streaming: what a stream is called, which states it passes
// through, and which errors a publisher or reader can meet. It has no behaviour; the engines are the
// packages below it.
package live
