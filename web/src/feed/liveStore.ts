import type { Live } from '../api/client'
import type { Feed } from './feed'

/** How much of the past is kept, in seconds. */
export const span = 300

export interface Now {
  /** The newest snapshot; undefined before the first. */
  live: Live | undefined
  /** The snapshots of the last five minutes, oldest first. */
  history: readonly Live[]
}

/**
 * LiveStore keeps the snapshots of the feed outside React. Those who look are told once a frame at
 * most, however fast messages come, and not at all while the page is hidden.
 */
export class LiveStore {
  private now: Now = { live: undefined, history: [] }
  private history: Live[] = []
  private readonly listeners = new Set<() => void>()
  private scheduled = false
  private readonly schedule: (f: () => void) => void

  constructor(feed: Pick<Feed, 'on'>, schedule: (f: () => void) => void = (f) => requestAnimationFrame(f)) {
    this.schedule = schedule
    feed.on('metrics:update', (live) => this.add(live))
  }

  readonly get = (): Now => this.now

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  private add(live: Live): void {
    const newest = Date.parse(live.time)
    const last = this.history.at(-1)
    // After a new connection the server repeats its newest snapshot.
    if (last && Date.parse(last.time) >= newest) return
    this.history = [...this.history.filter((l) => newest - Date.parse(l.time) <= span * 1000), live]
    if (this.scheduled) return
    this.scheduled = true
    this.schedule(() => {
      this.scheduled = false
      this.now = { live: this.history.at(-1), history: this.history }
      for (const listener of this.listeners) listener()
    })
  }
}
