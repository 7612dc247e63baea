// Package client is for those who send Common Media Client Data: players and test clients written
// in Go. A player puts into [cmcd.Values] all that it knows; [Prepare] makes of it what may be sent
// in a version and a mode, rounded, complete and in the right form. A [Sender] does this for a whole
// session: it counts the reports to each target, and sees to it that what is to be said once is said
// once. HTTP is left to the caller, and so is sending again what did not arrive.
//
// Section numbers are those of CTA-5004-B.
package client
