// Package cmcdtool reads CMCD from wherever people have it (addresses, header lines, records, bodies,
// HAR files), and tells what it means and what is wrong with it. It stands behind the commands weir cmcd
// decode and validate; the API's validation looks at records with the same eyes, [Piece.Records].
//
// Input is read as a stream: what is held in memory is one line, one block of header lines, one body
// or one entry of a HAR file, each with a limit that an error names.
package cmcdtool
