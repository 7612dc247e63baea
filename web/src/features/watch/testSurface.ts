import type { Options } from './options'
import type { RequestLog, Sent } from './requestLog'
import type { Stall, Viewing } from './viewing'

/**
 * The test surface of the watch page: what a browser test reads to compare what the viewer saw with
 * what the server measured. It is a contract with test/e2e, and always current.
 *
 *   player    "hls" | "dash" | "shaka", as chosen
 *   cmcd      1 | 2
 *   sid       the CMCD session ID; new when the player or the version is changed, kept over restarts
 *   state     "waiting" (no picture yet, or not any more), "playing", "error" (the player has given
 *             up; the next try comes after a back-off). A pause by the viewer is "playing".
 *   stalls    times at which the picture stood still after it had played: {start: Unix ms,
 *             duration: s}; not for a pause, not for a seek. The last one grows while it lasts.
 *   errors    what made a player give up, as text; warnings: what it went on after
 *   requests  what the log holds, oldest first, at most 500: {time: Unix ms, url, via, keys (as on
 *             the wire), values (decoded), records (all of a POST), raw (as it was sent), status,
 *             cacheStatus, bytes, ttfb, duration (ms), issues, …}; status is absent while a request
 *             is under way and -1 if it was cancelled or failed, issues until the validator has
 *             answered; requestsTotal counts those that were ever logged
 *   restarts  players started after the first one
 *   figures   what the strip shows: latency, buffer (s), bitrate (bit/s), width, height, dropped
 *   stop()    ends the player for good, so that what was sent can be counted
 */
export interface TestSurface {
  readonly player: string
  readonly cmcd: number
  readonly sid: string
  readonly state: 'waiting' | 'playing' | 'error'
  readonly errors: readonly string[]
  readonly warnings: readonly string[]
  readonly stalls: readonly Stall[]
  readonly requests: readonly Sent[]
  readonly requestsTotal: number
  readonly restarts: number
  readonly figures: Record<string, number | undefined>
  stop(): Promise<void>
}

declare global {
  interface Window {
    weirWatch?: TestSurface
  }
}

export function expose(options: Options, viewing: Viewing, log: RequestLog): void {
  window.weirWatch = {
    player: options.player,
    cmcd: options.cmcd,
    sid: viewing.sid,
    get state() {
      const { phase } = viewing.view().recovery
      return phase === 'playing' ? 'playing' : phase === 'failed' ? 'error' : 'waiting'
    },
    get errors() {
      return viewing.view().errors.map((e) => e.message)
    },
    get warnings() {
      return viewing.view().warnings.map((w) => w.message)
    },
    get stalls() {
      return viewing.view().stalls
    },
    get requests() {
      return log.all()
    },
    get requestsTotal() {
      return log.total
    },
    get restarts() {
      return viewing.view().recovery.restarts
    },
    get figures() {
      const { latency, buffer, bitrate, width, height, dropped } = viewing.view()
      return { latency, buffer, bitrate, width, height, dropped }
    },
    stop: () => viewing.stop(),
  }
}
