// Package cmcd reads and writes Common Media Client Data: what a media player says of itself with
// every request (CTA-5004, version 1) and, since version 2, also in reports of its own
// (CTA-5004-B).
//
// Decoding is lenient, because what a decoder throws away nobody can ask for again: a value that
// makes no sense is dropped, never the record that it stands in. Whatever was put up with is noted
// in [Values.Warnings]. [FromRequest] decodes the headers or the query of an HTTP request, [Parse]
// a single record, [ParseBody] the body of a report, and [ParseJSON] the JSON of version 1; a
// [Decoder] does it without allocating. [Values.String], [Values.Query] and [Values.Headers] write
// a record in the three ways in which it is sent.
//
// Numbers keep the units of the specification, which are not those of SQL or of Go: bitrates and
// throughputs are in kbit/s, times in milliseconds, ts is Unix time in milliseconds, and pr is a
// factor. The unit of each key stands at its constant. Section numbers in this package are those
// of CTA-5004-B.
//
// The strings of a decoded record share one buffer, or the memory of the input: who keeps one short
// string of many records clones it, and who keeps whole records may use [Values.Clone].
//
// What stands on this package: validate judges strictly, client knows what a player may send and when,
// quirk knows which keys of which player are not to be trusted, and cmsd is the other direction, what
// servers tell players (CTA-5006).
package cmcd
