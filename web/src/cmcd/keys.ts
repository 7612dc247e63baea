/** What each key of CTA-5004-B, Table 1 means, in plain words, with its unit on the wire. */
const meanings: Record<string, string> = {
  ab: 'aggregate encoded bitrate, kbit/s',
  bg: 'the player is in the background',
  bl: 'buffer length, ms',
  br: 'encoded bitrate of this object, kbit/s',
  bs: 'the buffer ran dry since the last report (also after a seek)',
  bsa: 'times the buffer ran dry since the session began',
  bsd: 'durations of finished rebuffers, ms',
  bsda: 'total time of rebuffering, ms',
  cdn: 'name of the CDN',
  cen: 'name of a custom event',
  cid: 'content ID: what is played',
  cmsdd: 'server data of the response (CMSD-Dynamic)',
  cmsds: 'server data of the response (CMSD-Static)',
  cs: 'content signature',
  d: 'duration of this object, ms',
  dfa: 'frames dropped since the session began',
  dl: 'deadline: time until the buffer runs dry, ms',
  e: 'event that is reported',
  ec: 'error codes of the player',
  h: 'host name',
  lab: 'lowest aggregate bitrate, kbit/s',
  lb: 'lowest bitrate of the ladder, kbit/s',
  ltc: 'live latency, ms',
  msd: 'media start delay: time to the first frame, ms',
  mtp: 'measured throughput, kbit/s',
  nor: 'next object that will be requested',
  nr: 'the media is not rendered',
  nrr: 'next range that will be requested',
  ot: 'object type',
  pb: 'bitrate at the playhead, kbit/s',
  pr: 'playback rate, 1 is real time',
  pt: 'playhead time, ms',
  rc: 'status of the response',
  rtp: 'most throughput that is asked for, kbit/s',
  sf: 'streaming format',
  sid: 'session ID: this playback',
  smrt: 'trace of the request',
  sn: 'sequence number of the report',
  st: 'stream type',
  sta: 'state of the player',
  su: 'urgent: the player starts, seeks or recovers',
  tab: 'top aggregate bitrate, kbit/s',
  tb: 'top bitrate of the ladder, kbit/s',
  tbl: 'target buffer length, ms',
  tpb: 'top bitrate that this device can play, kbit/s',
  ts: 'time of the event, Unix ms',
  ttfb: 'time to the first byte, ms',
  ttfbb: 'time to the first byte of the body, ms',
  ttlb: 'time to the last byte, ms',
  url: 'requested address',
  v: 'version of CMCD',
}

/** Every key of the table, in alphabetical order. */
export const allKeys: readonly string[] = Object.keys(meanings)

/** What the tokens of some keys mean. */
const tokens: Record<string, Record<string, string>> = {
  ot: {
    m: 'manifest', v: 'video', a: 'audio', av: 'audio and video', i: 'init segment', c: 'caption',
    tt: 'timed text', k: 'key', o: 'other',
  },
  sf: { d: 'DASH', h: 'HLS', s: 'Smooth Streaming', e: 'HESP', o: 'other' },
  st: { v: 'on demand', l: 'live', ll: 'low-latency live' },
  sta: {
    s: 'starting', p: 'playing', k: 'seeking', r: 'rebuffering', a: 'paused', w: 'waiting', e: 'ended',
    f: 'fatal error', q: 'quit', d: 'preloading',
  },
  e: {
    abs: 'ad break starts', abe: 'ad break ends', ae: 'ad ends', as: 'ad starts', b: 'background mode changed',
    bc: 'bitrate changed', c: 'content ID changed', ce: 'custom event', e: 'error', h: 'host name changed',
    m: 'muted', pc: 'player collapsed', pe: 'player expanded', pr: 'playback rate changed',
    ps: 'player state changed', rr: 'response received', sk: 'ad skipped', t: 'time interval', um: 'unmuted',
  },
}

/** meaning says in plain words what a key and its value stand for. */
export function meaning(key: string, raw: string): string {
  const text = meanings[key] ?? 'custom key'
  const token = tokens[key]?.[raw]
  return token ? `${text}: ${token}` : text
}
