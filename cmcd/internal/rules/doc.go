// Package rules has what the specification says of keys and values for those who send them and for
// those who validate them alike, so that the one never refuses what the other makes. What is true of a
// key by itself stands in package cmcd.
package rules
