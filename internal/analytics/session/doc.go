// Package session makes playback sessions of records.
//
// [Join] derives an [analytics.Session] from the requests and reports of one CMCD session ID. It is
// a pure function: the same records give the same session, wherever they came from. [Archive]
// finds the sessions that a store holds and joins them.
//
// The definitions, and why they are what they are, stand in DESIGN.md; what users see of them in
// docs/analytics.md. Two rules hold everywhere: the records of two sessions are never mixed, and
// audio and video are never averaged together.
package session
