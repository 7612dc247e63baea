// Package encode writes CMCD as a player should send it, of key=value pairs or of the JSON that records
// are decoded to. It stands behind the command weir cmcd encode.
package encode
