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

/** judge tells from a media playlist whether it is live and where its edge is. */
export function judge(playlist: string): Probe {
  const segments = uris(playlist)
  const last = segments.at(-1)
  if (playlist.includes('#EXT-X-ENDLIST')) return { state: 'ended' }
  return last === undefined ? { state: 'missing' } : { state: 'live', edge: last }
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
