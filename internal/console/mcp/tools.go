package mcp

// The bounds of answers.
const (
	defaultSessions = 20
	maxSessions     = 100
	defaultRows     = 100
	maxRows         = 1_000
	defaultRequests = 50
	maxRequests     = 500
	maxFindings     = 100
	evidenceRows    = 5
)

func (s *Server) addTools() error {
	for _, register := range []func() error{
		func() error {
			return add(s, tool{
				name: "list_sessions", title: "Sessions",
				description: "Playback sessions, newest first, with the figures of each: played time, average bitrate, rebuffers, errors, hit ratio. Filter by stream, time or the beginning of the session ID.",
				limits:      map[string][2]float64{"limit": {1, maxSessions}},
			}, s.listSessions)
		},
		func() error {
			return add(s, tool{
				name: "get_average_bitrate", title: "Average bitrate",
				description: "Average encoded bitrate of the video in bit/s, weighted by playing time: Σ(br·d)/Σd over the video delivered. Audio is never averaged in and told apart. Overall and for each session, or broken down by other dimensions (stream, edge, content, format …) or over time (grain).",
				limits:      map[string][2]float64{"limit": {1, maxRows}},
			}, s.averageBitrate)
		},
		func() error {
			return add(s, tool{
				name: "get_session_details", title: "Session details",
				description: "One playback session: startup, played time, bitrate, rebuffers with the rule that found each, delivery, what of the player's word is not believed and why, how much of it is missing, and its requests in order of time (buffer, bitrate, cache, time to first byte; beside it the player's own view of the answer, where it reported one). Name it by its ID or the beginning of it.",
				limits:      map[string][2]float64{"limit": {1, maxRequests}},
			}, s.sessionDetails)
		},
		func() error {
			return add(s, tool{
				name: "analyze_buffer_events", title: "Buffer events",
				description: "What the buffer of one session did: least, low (5th percentile) and average length, rebuffers with the requests that came before each as evidence, and the times outside startup in which the buffer was below threshold_ms.",
				limits:      map[string][2]float64{"threshold_ms": {1, 60_000}},
			}, s.bufferEvents)
		},
		func() error {
			return add(s, tool{
				name: "identify_playback_errors", title: "Playback errors",
				description: "What went wrong in one session, with evidence: HTTP errors, aborted requests, errors the player reported, sudden drops of the bitrate within one object type, stale or failed manifests. Without a session: which sessions had HTTP errors.",
				limits:      map[string][2]float64{"limit": {1, maxFindings}},
			}, s.playbackErrors)
		},
		func() error {
			return add(s, tool{
				name: "list_metrics", title: "Catalogue of metrics",
				description: "Every metric with unit, definition and polarity, and the dimensions to break down and filter by.",
			}, s.listMetrics)
		},
		func() error {
			return add(s, tool{
				name: "query_metrics", title: "Query metrics",
				description: "Any metrics of the catalogue over a range of time, broken down by dimensions, filtered, over time (grain), ordered. The answer carries the SQL that was run.",
				limits:      map[string][2]float64{"limit": {1, maxRows}},
			}, s.queryMetrics)
		},
	} {
		if err := register(); err != nil {
			return err
		}
	}
	return nil
}
