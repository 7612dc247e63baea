// Package transform makes text smaller on its way to viewers. A [Compressor] says by policy what is to be
// done with an answer ([Compressor.Plan]), changes the header to fit ([Plan.Apply]), and encodes: whole
// bodies, for a variant that is kept ([Compressor.Body]), or as they come ([Compressor.Writer]). It decodes
// for clients that do not accept what is stored ([Compressor.Reader]).
//
// What is encoded already, is marked no-transform, is a part of something, or is video, audio or an image
// stays as it is, whatever the configuration says.
//
// Accept-Encoding is reduced to one of four words ([Negotiate]), so that a cache has four variants at most.
// An encoded representation has a weak entity tag of its own: the same bytes are not promised, because the
// level differs between what is streamed and what is kept. So such an answer is never a part of another
// (RFC 9110 §8.8.1, §8.8.3.3, §13.1.5).
//
// Encoders and decoders are pooled, and run in the goroutine that calls. Their windows are at most 1 MiB,
// those of what is read at most 8 MiB, as RFC 9659 has it. A stream that is not closed, but aborted, never
// looks whole to the client.
package transform
