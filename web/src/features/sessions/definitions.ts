/** What the numbers of one session mean. Those of metrics over many sessions are in the server's catalogue. */
export const definitions = {
  stream: 'The stream or asset that was played, told by the path of the requests.',
  player: 'Who played.',
  cmcd: 'The version of CMCD (CTA-5004) that the player speaks; none if only the events API told of it.',
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
  clock: 'How far the player’s clock and the server’s are apart, with the way of the fastest report. Times of reports are corrected by it; those of responses are of their receipt.',
  lost: 'Reports that the player numbered (CMCD sn) and that are not here: they did not arrive, or were not kept. Not known if none is numbered.',
  unseen: 'Requests that the player numbered (CMCD sn) and that have no row here: another server answered them, or the player’s cache, or their rows were lost. Not known if none is numbered.',
  distrusted: 'CMCD keys of which this player’s values are not believed, or only in part. Each says why.',
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

/** What told the player, from the surest down. */
export const playerEvidence: Record<string, string> = {
  'org.svta-p-n': 'It says so itself (CMCD key org.svta-p-n).',
  list_style: 'Told by how it writes lists in CMCD.',
  spelling: 'Told by how it writes CMCD.',
  key_set: 'Told by which CMCD keys it sends together.',
  user_agent: 'Told by the user agent, which names the browser where a player runs in one.',
}

/** What is done with values that are not believed. */
export const verdicts: Record<string, string> = {
  decode: 'Shown as it was sent.',
  ignore: 'Ignored.',
  ignore_zero: 'Zero is ignored.',
  ignore_first: 'Ignored until it changes.',
  ignore_implausible: 'Ignored where it cannot be.',
  ignore_repeats: 'Counted once.',
  corroborate: 'Counts only where something else bears it out.',
  of_seek: 'Counted to the seek or the start.',
  absent: 'Its absence says nothing.',
}
