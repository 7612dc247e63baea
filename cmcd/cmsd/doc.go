// Package cmsd reads and writes Common Media Server Data (CTA-5006): what the servers between an
// origin and a player say of an object and of themselves, in headers of the response.
//
// CMSD-Static is of the object. The origin writes it, and everybody else passes it on as it is. It is
// a dictionary of structured fields (RFC 8941). CMSD-Dynamic is of the way that a response takes: a
// list with one item for each server that adds one, the first of which is nearest to the origin, and
// the last nearest to the player. Its values speak of the hop behind that server.
//
// Reading is lenient: a bad value is dropped, and the rest is kept. The error tells what was dropped;
// the result is of use all the same. It allocates no more than 16 times as many bytes as come, and 384 KiB
// beyond that.
//
// Players are less patient with what they read. Shaka Player 5 splits the headers at commas,
// semicolons and equals signs and does not trim, and it takes all of CMSD-Dynamic for one item; it
// obeys mb and etp without being asked to. dash.js obeys the last item if it is told to. So no space
// is written here outside of strings, names should do without those three characters, and the server that
// answers players does best to send its own item alone ([Hop.String]). A server in the middle adds its
// own to those that it got ([Append]). Scripts on pages of other origins see the headers only with
// Access-Control-Expose-Headers.
package cmsd
