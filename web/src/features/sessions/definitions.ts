/** What the numbers of one session mean. Those of metrics over many sessions are in the server's catalogue. */
export const definitions = {
  stream: 'The stream or asset that was played, told by the path of the requests.',
  player: 'Told by the user agent and the ways of the player’s CMCD.',
  cmcd: 'The version of CMCD (CTA-5004) that the player speaks.',
  client: 'The address that the requests came from, and the edge that answered them.',
  started: 'Time of the first record.',
  seen: 'Time of the last record.',
  played: 'Media delivered less what was still in the buffer at the end.',
  bitrate: 'Encoded bitrate of the video weighted by playing time; of the audio where there is no video.',
  throughput: 'Mean of the throughput that the player measured (CMCD mtp).',
  startup: 'From the first request to the first frame. Estimated: inferred from the requests, as the player told no state.',
  rebuffers: 'Times at which the picture stood still for lack of media, without start and seeks, and their length in all.',
  rebufferRatio: 'Time of rebuffering over itself and the time played.',
  hits: 'Share of the session’s requests that the edge answered without asking the origin (hit, stale or collapsed).',
  requests: 'Requests with this session’s ID that the edges answered.',
  reports: 'CMCD event records that the player posted.',
  bytes: 'Body bytes sent to the viewer.',
  errors: 'Requests answered with a status of 400 and above.',
}

/** The rules that find a rebuffer, from the surest down. */
export const evidence: Record<string, string> = {
  sta: 'the player reported the state “rebuffering” (CMCD sta=r)',
  bsd: 'the player reported the duration (CMCD bsd)',
  bs: 'the player reported an empty buffer (CMCD bs), and the buffer had been drained',
  drain: 'inferred: more time had passed than media was delivered',
}
