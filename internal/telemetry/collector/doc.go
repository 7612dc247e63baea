// Package collector takes what players post: CMCD reports (CTA-5004-B §3.3), and events of players
// that do not speak CMCD. It makes telemetry records of them.
//
// It never provokes. Players send again what was refused, so that a collector in trouble would be sent
// many times as much: whatever comes as HTTP is answered 204 (events: 200 or 400), even if not one
// record in it is good, and never 429 or 5xx. Only 410 stops a player; it is the answer to a session
// that was silenced. A collector that gets too much keeps fewer sessions, those whole, and the same
// ones on every edge.
//
// It never loses in silence. A record is answered after the bus has accepted it; a bad record costs none
// of the others; what is dropped is counted. A record that is sent again is known by what it says of
// itself, here in bounded memory, and behind it by its ID.
//
// Locks: state.mu, which is held neither while a body is read or decoded nor while the bus is called.
package collector
