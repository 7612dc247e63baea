import type { Exchange } from '../../api/client'
import { seconds } from '../../ui/format'

/** A time that both ends of a request have measured. */
export interface Pair {
  name: 'TTFB' | 'TTLB'
  player: number
  edge: number
}

/** pairsOf are the times of a request that the player reported too (CMCD event rr), in seconds. */
export function pairsOf(e: Exchange): Pair[] {
  const pairs: Pair[] = []
  const seen = e.response
  if (seen?.ttfb_seconds !== undefined) pairs.push({ name: 'TTFB', player: seen.ttfb_seconds, edge: e.ttfb_seconds })
  if (seen?.ttlb_seconds !== undefined) pairs.push({ name: 'TTLB', player: seen.ttlb_seconds, edge: e.duration_seconds })
  return pairs
}

/** told puts both sides of a time beside each other. */
export function told({ name, player, edge }: Pair): string {
  const between = player - edge
  const rest = between >= 0.001 ? `: ${seconds(between)} in the network and in the player` : ''
  return `${name} player ${seconds(player)} · edge ${seconds(edge)}${rest}`
}

/** statusOf says what status reached the player, where it is not the one that the edge sent. */
export function statusOf(e: Exchange): string | undefined {
  const status = e.response?.status
  if (status === undefined || status === e.status) return undefined
  return status === 0 ? 'the player got no answer' : `the player got ${status}`
}
