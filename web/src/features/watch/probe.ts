import { hlsPath } from './options'
import type { Probe } from './recovery'

/**
 * probe looks whether there is something to play. It asks for the HLS playlists whichever player
 * will play, for both manifests stand over the same segments. It carries no CMCD: it is no playback.
 */
export async function probe(stream: string, signal: AbortSignal): Promise<Probe> {
  const multivariant = await get(hlsPath(stream), signal)
  if (typeof multivariant !== 'string') return multivariant
  const variant = uris(multivariant)[0]
  if (variant === undefined) return { state: 'missing' }
  // A media playlist may stand where a multivariant one is expected.
  if (!multivariant.includes('#EXT-X-STREAM-INF')) return judge(multivariant)
  const media = await get(new URL(variant, new URL(hlsPath(stream), location.href)).href, signal)
  return typeof media === 'string' ? judge(media) : media
}

/**
 * A player that starts on the very first segment of a stream runs dry before the next: so much media
 * must be there first, in seconds.
 */
const enough = 4

/** judge tells from a media playlist whether it is live and where its edge is. */
export function judge(playlist: string): Probe {
  const last = uris(playlist).at(-1)
  if (playlist.includes('#EXT-X-ENDLIST')) return { state: 'ended' }
  if (last === undefined) return { state: 'missing' }
  const media = [...playlist.matchAll(/^#EXTINF:([\d.]+)/gm)].reduce((sum, match) => sum + Number(match[1]), 0)
  return media < enough ? { state: 'beginning' } : { state: 'live', edge: last }
}

function uris(playlist: string): string[] {
  return playlist
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
}

async function get(url: string, signal: AbortSignal): Promise<string | Probe> {
  try {
    const response = await fetch(url, { cache: 'no-store', signal })
    if (response.ok) return await response.text()
    return { state: response.status === 404 || response.status === 410 ? 'missing' : 'unreachable' }
  } catch {
    return { state: 'unreachable' }
  }
}
