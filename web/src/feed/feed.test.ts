import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Live } from '../api/client'
import { FakeSocket } from '../test/network'
import { backOff, Feed } from './feed'
import { LiveStore } from './liveStore'

const newFeed = () => new Feed('ws://x/api/v1/feed', (url) => new FakeSocket(url) as unknown as WebSocket, () => 1)
const newest = () => FakeSocket.made.at(-1)!

beforeEach(() => {
  FakeSocket.made = []
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('Feed', () => {
  it('has one socket for all topics and delivers by topic', () => {
    const feed = newFeed()
    const viewers = vi.fn()
    const live = vi.fn()
    feed.on('viewers:count', viewers)
    feed.on('metrics:update', live)
    expect(FakeSocket.made).toHaveLength(1)
    expect(feed.state()).toBe('connecting')
    newest().say('viewers:count', { viewers: 3, viewers_by_stream: {} }, 'T')
    expect(feed.state()).toBe('open')
    expect(viewers).toHaveBeenCalledExactlyOnceWith({ viewers: 3, viewers_by_stream: {} }, 'T')
    expect(live).not.toHaveBeenCalled()
  })

  it('survives messages that it does not understand', () => {
    const feed = newFeed()
    const viewers = vi.fn()
    feed.on('viewers:count', viewers)
    for (const data of ['', '{', 'null', '[]', '{"event":1}', '{"event":"unheard:of"}']) newest().onmessage?.({ data })
    newest().say('viewers:count', { viewers: 1, viewers_by_stream: {} })
    expect(viewers).toHaveBeenCalledTimes(1)
  })

  it('connects again after a loss, later each time, and soon again after success', () => {
    const feed = newFeed()
    feed.on('viewers:count', () => undefined)
    for (const delay of [500, 1000, 2000, 4000, 8000, 15_000, 15_000]) {
      const before = FakeSocket.made.length
      newest().hangUp()
      expect(feed.state()).toBe('lost')
      vi.advanceTimersByTime(delay - 1)
      expect(FakeSocket.made).toHaveLength(before)
      vi.advanceTimersByTime(1)
      expect(FakeSocket.made).toHaveLength(before + 1)
    }
    newest().say('viewers:count', { viewers: 1, viewers_by_stream: {} })
    expect(feed.state()).toBe('open')
    newest().hangUp()
    vi.advanceTimersByTime(500)
    expect(feed.state()).toBe('lost') // until the server speaks
    newest().say('viewers:count', { viewers: 1, viewers_by_stream: {} })
    expect(feed.state()).toBe('open')
  })

  it('gives up a connection that has gone silent', () => {
    const feed = newFeed()
    feed.on('viewers:count', () => undefined)
    const first = newest()
    first.say('viewers:count', { viewers: 1, viewers_by_stream: {} })
    vi.advanceTimersByTime(10_000)
    expect(first.closed).toBe(true)
    vi.advanceTimersByTime(500)
    expect(FakeSocket.made).toHaveLength(2)
  })

  it('stays closed when closed', () => {
    const feed = newFeed()
    feed.on('viewers:count', () => undefined)
    feed.close()
    vi.advanceTimersByTime(60_000)
    expect(FakeSocket.made).toHaveLength(1)
  })

  it('spreads many clients over half of each delay', () => {
    expect([backOff(1, 0), backOff(1, 1), backOff(99, 0), backOff(99, 1)]).toEqual([250, 500, 7_500, 15_000])
  })
})

describe('LiveStore', () => {
  const at = (second: number) => ({ time: new Date(1.7e12 + second * 1000).toISOString(), viewers: second }) as Live

  function filled() {
    let give: (live: Live) => void = () => undefined
    const frames: (() => void)[] = []
    const store = new LiveStore({ on: (_: string, f: (live: never, time: string) => void) => ((give = f as never), () => undefined) } as never, (f) => frames.push(f))
    return { store, give: (second: number) => give(at(second)), frame: () => frames.splice(0).forEach((f) => f()) }
  }

  it('tells once a frame of all that has come', () => {
    const { store, give, frame } = filled()
    const listener = vi.fn()
    store.subscribe(listener)
    for (let i = 0; i < 10; i++) give(i)
    expect(listener).not.toHaveBeenCalled()
    frame()
    expect(listener).toHaveBeenCalledTimes(1)
    expect(store.get().live?.viewers).toBe(9)
    expect(store.get().history).toHaveLength(10)
  })

  it('keeps five minutes, and not twice what is repeated after a new connection', () => {
    const { store, give, frame } = filled()
    for (let i = 0; i <= 400; i++) give(i)
    give(400)
    frame()
    expect(store.get().history.map((l) => l.viewers)).toEqual(Array.from({ length: 301 }, (_, i) => i + 100))
  })

  it('is the same object until something comes', () => {
    const { store, give, frame } = filled()
    expect(store.get()).toBe(store.get())
    give(1)
    frame()
    expect(store.get()).toBe(store.get())
  })
})
