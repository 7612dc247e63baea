// Package collector takes the CMCD reports that players post (CTA-5004-B §3.3) and makes telemetry
// records of them.
//
// It answers 204 to whatever is HTTP and of bearable size, even if not one record in it is good,
// and never 429 or 5xx: players send again what was refused, so that a collector in trouble would
// be sent many times as much. What it drops it counts.
package collector
