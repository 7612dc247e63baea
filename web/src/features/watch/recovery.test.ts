import { describe, expect, it } from 'vitest'
import { backOff, begin, probeInterval, step, type Action, type Happening, type Probe, type Recovery } from './recovery'

/** A viewer whose clock is turned by hand. */
class Viewer {
  now = 0
  r: Recovery
  done: Action[]
  constructor() {
    const { next, actions } = begin(0)
    this.r = next
    this.done = actions
  }
  tell(h: Happening): this {
    const { next, actions } = step(this.r, h, this.now)
    this.r = next
    this.done = actions
    return this
  }
  probed(probe: Probe): this {
    return this.tell({ type: 'probed', probe })
  }
  /** Turns the clock by seconds in quarters; returns all that was done. */
  wait(seconds: number, moving = false): Action[] {
    const all: Action[] = []
    for (let i = 0; i < seconds * 4; i++) {
      this.now += 250
      if (moving) all.push(...this.tell({ type: 'progress' }).done)
      all.push(...this.tell({ type: 'tick' }).done)
    }
    return all
  }
}

const live = (edge: string): Probe => ({ state: 'live', edge })
const playing = () => {
  const v = new Viewer().probed(live('1'))
  v.wait(10, true)
  return v
}

describe('recovery', () => {
  it('looks at once and starts when the stream is there', () => {
    const v = new Viewer()
    expect(v.done).toEqual(['probe'])
    expect(v.probed(live('1')).done).toEqual(['start'])
    expect(v.r.phase).toBe('starting')
    v.wait(1, true)
    expect(v.r).toMatchObject({ phase: 'playing', restarts: 0 })
  })

  it('asks again and again while nobody publishes, one question at a time', () => {
    const v = new Viewer().probed({ state: 'missing' })
    expect(v.wait(1)).toEqual(['probe'])
    expect(v.wait(30)).toEqual([]) // the answer is still to come
    expect(v.probed({ state: 'missing' }).r).toMatchObject({ phase: 'looking', reason: 'missing' })
    v.wait(5)
    expect(v.probed(live('1')).done).toEqual(['start'])
  })

  it('asks less often the longer a stream is away', () => {
    expect([0, 60_000, 3_600_000].map(probeInterval)).toEqual([1_000, 2_000, 5_000])
  })

  it('lets a stream that begins fill up first', () => {
    const v = new Viewer().probed({ state: 'missing' })
    v.wait(1)
    expect(v.probed({ state: 'beginning' })).toMatchObject({ done: [], r: { phase: 'looking', reason: 'beginning' } })
    v.wait(1)
    expect(v.probed(live('3')).done).toEqual(['start'])
  })

  it('takes a new beginning under a stalled player for another stream', () => {
    const v = playing()
    v.wait(4)
    expect(v.probed({ state: 'beginning' }).done).toEqual(['stop'])
    v.wait(1)
    expect(v.probed(live('3')).done).toEqual(['start'])
  })

  it('holds on to the player through a short stall', () => {
    const v = playing()
    expect(v.wait(3)).toEqual([])
    v.wait(1, true)
    expect(v.r).toMatchObject({ phase: 'playing', restarts: 0 })
  })

  it('does not take a pause for a stall', () => {
    const v = playing()
    for (let i = 0; i < 240; i++) {
      v.now += 250
      expect(v.tell({ type: 'idle' }).tell({ type: 'tick' }).done).toEqual([])
    }
    expect(v.r.phase).toBe('playing')
  })

  it('lets go of a player whose manifest has gone, and starts when it is back', () => {
    const v = playing()
    expect(v.wait(4)).toEqual(['probe'])
    expect(v.r.phase).toBe('stalled')
    expect(v.probed({ state: 'missing' }).done).toEqual(['stop'])
    v.now += 600_000 // minutes later
    expect(v.wait(1)).toEqual(['probe'])
    expect(v.probed(live('1')).done).toEqual(['start'])
    v.wait(1, true)
    expect(v.r).toMatchObject({ phase: 'playing', restarts: 1 })
  })

  it('does not start on a manifest that stands still, only on news', () => {
    const v = playing()
    v.wait(4)
    v.probed(live('9'))
    for (let i = 0; i < 40 && v.r.phase === 'stalled'; i++) {
      v.wait(1)
      v.probed(live('9'))
    }
    expect(v.r).toMatchObject({ phase: 'looking', reason: 'interrupted', needsNews: true })
    v.wait(5)
    expect(v.probed(live('9')).done).toEqual([])
    v.wait(5)
    expect(v.probed(live('10')).done).toEqual(['start'])
  })

  it('restarts a player that stands still while the stream goes on', () => {
    const v = playing()
    v.wait(4)
    v.probed(live('2'))
    v.wait(2)
    v.probed(live('3'))
    expect(v.r.phase).toBe('stalled')
    v.wait(2)
    expect(v.probed(live('4')).done).toEqual(['stop', 'start'])
    expect(v.r.restarts).toBe(1)
  })

  it('goes on when the player finds its way by itself', () => {
    const v = playing()
    v.wait(4)
    v.probed(live('2'))
    v.wait(1, true)
    expect(v.r).toMatchObject({ phase: 'playing', restarts: 0 })
    expect(v.probed(live('3')).r.phase).toBe('playing')
  })

  it('waits after the end for the stream to return', () => {
    const v = playing().tell({ type: 'ended' })
    expect(v.done).toEqual(['stop'])
    v.wait(1)
    expect(v.probed({ state: 'ended' }).r).toMatchObject({ phase: 'looking', reason: 'ended' })
    v.wait(5)
    expect(v.probed(live('1')).done).toEqual(['start'])
  })

  it('tries again after a fatal error, later each time, and calms down after good play', () => {
    const v = playing()
    const waits: number[] = []
    for (let i = 0; i < 5; i++) {
      expect(v.tell({ type: 'fatal' }).done).toEqual(['stop'])
      expect(v.r.phase).toBe('failed')
      waits.push(v.r.due - v.now)
      v.now = v.r.due
      expect(v.tell({ type: 'tick' }).done).toEqual(['probe'])
      expect(v.probed(live(String(i))).done).toEqual(['start'])
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 15_000])
    expect(v.r.restarts).toBe(5)
    v.wait(60, true)
    expect(v.r.failures).toBe(0)
    expect(backOff(50)).toBe(15_000)
  })

  it('ignores what a player says that is there no more', () => {
    const v = playing().tell({ type: 'ended' })
    for (const h of [{ type: 'fatal' }, { type: 'progress' }, { type: 'ended' }] as const) {
      expect(v.tell(h)).toMatchObject({ done: [], r: { phase: 'looking' } })
    }
  })
})
