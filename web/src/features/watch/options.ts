export type PlayerName = 'hls' | 'dash' | 'shaka'
export type ManifestKind = 'hls' | 'dash'

/** Options are what the address of the page says: what is watched, and with which player. */
export interface Options {
  stream: string
  player: PlayerName
  cmcd: 1 | 2
  /** Event reports to POST /cmcd; only CMCD version 2 has them. */
  events: boolean
  manifest: ManifestKind
}

export const playerNames: Record<PlayerName, string> = { hls: 'hls.js', dash: 'dash.js', shaka: 'Shaka' }

/** readOptions reads the page's address; what it does not understand it takes as not given. */
export function readOptions(location: { pathname: string; search: string }): Options {
  const search = new URLSearchParams(location.search)
  const named = search.get('player')
  const player: PlayerName = named === 'dash' || named === 'shaka' ? named : 'hls'
  const cmcd = search.get('cmcd') === '2' ? 2 : 1
  return {
    stream: streamOf(location.pathname),
    player,
    cmcd,
    events: cmcd === 2 && search.get('events') === '1',
    manifest: player === 'shaka' && search.get('manifest') === 'hls' ? 'hls' : player === 'hls' ? 'hls' : 'dash',
  }
}

/** addressOf is the inverse of readOptions. */
export function addressOf(options: Options): string {
  const search = new URLSearchParams({ player: options.player, cmcd: String(options.cmcd) })
  if (options.cmcd === 2 && options.events) search.set('events', '1')
  if (options.player === 'shaka' && options.manifest === 'hls') search.set('manifest', 'hls')
  return `/watch/${options.stream}?${search.toString()}`
}

/** A stream name may have "/" in it: it is all of the path below /watch/. */
function streamOf(pathname: string): string {
  const rest = pathname.replace(/^\/watch\//, '').replace(/\/+$/, '')
  try {
    return decodeURIComponent(rest)
  } catch {
    return rest
  }
}

export const hlsPath = (stream: string) => `/live/${stream}/index.m3u8`
export const dashPath = (stream: string) => `/live/${stream}/manifest.mpd`
