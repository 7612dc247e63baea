// Package answer finds the rows of the requests that a player's reports of answers (CMCD event rr)
// speak of. What makes a pair, and why, stands in DESIGN.md of package session.
package answer
