/**
 * The way back to a picture, as a machine without clock, network or player: it is told what happens
 * and when, and says what to do. So a viewer comes back by itself when the publisher goes away for
 * a second or for an hour, and no player hammers a stream that is not there.
 */

/** What a look at the manifest told. */
export type Probe =
  | { state: 'missing' } // 404, or nothing in it yet
  | { state: 'beginning' } // live, with too little in it yet
  | { state: 'unreachable' } // no answer, or one that is an error of the server
  | { state: 'ended' } // says itself that nothing follows
  | { state: 'live'; edge: string } // edge changes whenever there is something new to play

export type Happening =
  | { type: 'probed'; probe: Probe }
  | { type: 'progress' } // the picture moves
  | { type: 'idle' } // the picture stands because the viewer wants it to
  | { type: 'tick' }
  | { type: 'fatal' } // the player has given up
  | { type: 'ended' } // the player has reached the end

export type Action = 'start' | 'stop' | 'probe'

/**
 * looking: no player, the manifest is asked for. starting: a player without a picture yet.
 * playing: the picture moves. stalled: it should move and does not; the player still tries.
 * failed: the player has given up; the next try is at `due`.
 */
export type Phase = 'looking' | 'starting' | 'playing' | 'stalled' | 'failed'

/** Why there is no picture. */
export type Reason = 'first' | 'missing' | 'beginning' | 'unreachable' | 'ended' | 'interrupted'

export interface Recovery {
  phase: Phase
  reason: Reason
  /** Players started after the first one. */
  restarts: number
  /** Players that gave up in a row. */
  failures: number
  /** When the phase began, and when the picture last moved. */
  since: number
  moved: number
  /** When to act next: to probe or to try again. */
  due: number
  probing: boolean
  started: boolean
  /** The edge of the manifest at the last look; "" before the first. */
  edge: string
  /** Only a manifest that has moved on since `edge` is worth a player. */
  needsNews: boolean
  /** Looks in a row that found news while the picture stood still. */
  news: number
}

const stallAfter = 4_000
const startWithin = 12_000
const letGoAfter = 30_000
const calmAfter = 30_000

/** A picture that stands while the manifest moves on is given this many looks before a restart. */
const patience = 3

export const backOff = (failures: number) => Math.min(1_000 * 2 ** Math.max(0, failures - 1), 15_000)

/** A stream that has just gone is looked for often, one that is long gone rarely. */
export function probeInterval(away: number): number {
  if (away < 30_000) return 1_000
  return away < 300_000 ? 2_000 : 5_000
}

export function begin(now: number): { next: Recovery; actions: Action[] } {
  return {
    next: {
      phase: 'looking', reason: 'first', restarts: 0, failures: 0, since: now, moved: now, due: now,
      probing: true, started: false, edge: '', needsNews: false, news: 0,
    },
    actions: ['probe'],
  }
}

export function step(r: Recovery, h: Happening, now: number): { next: Recovery; actions: Action[] } {
  const stay = (change: Partial<Recovery> = {}, ...actions: Action[]) => ({ next: { ...r, ...change }, actions })
  const look = (reason: Reason, needsNews: boolean, ...actions: Action[]) =>
    stay({ phase: 'looking', reason, needsNews, since: now, due: now + probeInterval(0), probing: false, news: 0 }, ...actions)
  const start = (...before: Action[]) =>
    stay(
      {
        phase: 'starting', since: now, moved: now, probing: false, started: true, needsNews: false, news: 0,
        restarts: r.started ? r.restarts + 1 : r.restarts,
      },
      ...before,
      'start',
    )
  const hasPlayer = r.phase === 'starting' || r.phase === 'playing' || r.phase === 'stalled'

  switch (h.type) {
    case 'progress':
      if (!hasPlayer) return stay()
      if (r.phase === 'playing') return stay({ moved: now, failures: now - r.since > calmAfter ? 0 : r.failures })
      return stay({ phase: 'playing', since: now, moved: now, news: 0 })

    case 'idle':
      return hasPlayer ? stay({ moved: now }) : stay()

    case 'fatal': {
      if (!hasPlayer) return stay()
      const failures = r.failures + 1
      return stay({ phase: 'failed', failures, since: now, due: now + backOff(failures), probing: false }, 'stop')
    }

    case 'ended':
      return hasPlayer ? look('ended', true, 'stop') : stay()

    case 'probed':
      return probed(h.probe)

    case 'tick':
      break
  }

  // A tick.
  switch (r.phase) {
    case 'looking':
      return !r.probing && now >= r.due ? stay({ probing: true }, 'probe') : stay()
    case 'failed':
      if (now < r.due) return stay()
      return stay({ phase: 'looking', reason: 'interrupted', needsNews: false, since: now, due: now, probing: true }, 'probe')
    case 'starting':
    case 'playing': {
      const limit = r.phase === 'starting' ? startWithin : stallAfter
      if (now - r.moved < limit) return stay()
      return stay({ phase: 'stalled', reason: 'interrupted', since: now, probing: true, news: 0 }, 'probe')
    }
    case 'stalled':
      return !r.probing && now >= r.due ? stay({ probing: true }, 'probe') : stay()
  }

  function probed(probe: Probe) {
    const due = now + probeInterval(now - r.since)
    const edge = probe.state === 'live' ? probe.edge : r.edge
    if (r.phase === 'looking') {
      if (probe.state !== 'live') {
        // What comes back after it was gone or had ended is new, whatever it looks like.
        const gone = probe.state !== 'unreachable'
        return stay({ probing: false, due, reason: probe.state, ...(gone ? { needsNews: false, edge: '' } : {}) })
      }
      if (r.needsNews && (r.edge === '' || r.edge === edge)) return stay({ probing: false, due, edge })
      return startWith(edge)
    }
    if (r.phase !== 'stalled') return stay({ probing: false, edge })
    if (probe.state === 'missing' || probe.state === 'beginning') return look(probe.state, false, 'stop')
    if (probe.state === 'ended') return look('ended', true, 'stop')
    if (probe.state === 'live' && r.edge !== '' && edge !== r.edge) {
      if (r.news + 1 >= patience) return startWith(edge, 'stop')
      return stay({ probing: false, due, edge, news: r.news + 1 })
    }
    if (now - r.since >= letGoAfter) {
      const { next, actions } = look(probe.state === 'unreachable' ? 'unreachable' : 'interrupted', true, 'stop')
      return { next: { ...next, edge }, actions }
    }
    return stay({ probing: false, due, edge })
  }

  function startWith(edge: string, ...before: Action[]) {
    const { next, actions } = start(...before)
    return { next: { ...next, edge }, actions }
  }
}
