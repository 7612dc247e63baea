// Package quirk knows the habits of media players: who is speaking, told by the way it speaks CMCD,
// and which keys of which player are not to be believed, each with the evidence.
//
// A [Signature] collects what the records of one session tell of their player. [Of] returns what is
// known of that player, and [Suspects] what may be true of one that is not known. The decoder of
// package cmcd makes no use of this: it hands on what was sent, and who uses a value decides.
//
// A habit is evidence or nothing. A rule that names a player must fit no other player that is known
// to send the like, and it must leave out a player that merely lacks a key, because keys can be
// turned off. So some sessions have no name, but none has a wrong one.
//
// Versions of players are those in which a habit begins and ends, as far as captured traffic and the
// players' source code show. Units are those of package cmcd.
package quirk
