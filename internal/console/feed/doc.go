// Package feed is the WebSocket of the console: each second it sends every client how many viewers
// there are and what is going on.
//
// A message is an envelope, {"event":…,"time":…,"data":…}. The server sends viewers:count and
// metrics:update. A client that is too slow for one message a second misses the ones in between:
// only the newest waits for it, so that no client holds up another or takes more memory than that.
// A client may send messages too; as yet there is none that means anything, and each is answered
// with the event error, which says so.
package feed
