// Package tracker counts what is going on now: viewers, requests, bitrate and hit ratio of the last
// few seconds, from the records as they pass by on the bus. It keeps nothing but that window; sessions
// are joined from what is stored, by package session. docs/analytics.md defines the numbers.
//
// One-second buckets stand in a ring, one more than the window, because the second that is going on
// is not complete and would pull every rate down. A request counts in the second of its last byte.
// Sessions are kept in the order in which they were last heard, so the one to forget is at the end.
// Times to first byte go into a histogram of bins that grow by 5 %, so quantiles are right within
// 2.5 % and memory is fixed.
package tracker
