// Package playback reads the events of players that do not speak CMCD: JSON objects with the fields
// that docs/telemetry.md lists. It is strict, as their senders are told what is wrong with each.
package playback
