// Package cmcdtool reads CMCD from wherever people have it (addresses, header lines, records, bodies,
// HAR files), tells what it means and what is wrong with it, and writes it again. It stands behind
// the commands weir cmcd decode, validate and encode; the API's validation looks at records with the
// same eyes, [Piece.Records].
//
// Input is read as a stream: what is held in memory is one line, one block of header lines, one body
// or one entry of a HAR file, each with a limit that an error names.
package cmcdtool
