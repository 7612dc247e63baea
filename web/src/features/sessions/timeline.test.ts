import { describe, expect, it } from 'vitest'
import type { Exchange } from '../../api/client'
import { compare } from './RequestTable'
import { timelineOf } from './timeline'

const exchange = (second: number, more: Partial<Exchange>): Exchange => ({
  id: String(second), time: new Date(second * 1000).toISOString(), path: '/live/test/x.m4s', kind: 'segment', status: 200,
  bytes: 1, cache_status: 'hit', ttfb_seconds: 0.001, duration_seconds: 0.002, ...more,
})

describe('timelineOf', () => {
  it('draws the video where there is one', () => {
    const { times, buffer, bitrate, throughput } = timelineOf(
      [
        exchange(1, { object_type: 'm' }),
        exchange(2, { object_type: 'v', bitrate: 1.3e6, buffer_length_seconds: 0, cmcd: { mtp: '5200' } }),
        exchange(3, { object_type: 'a', bitrate: 96_000, buffer_length_seconds: 9 }),
        exchange(4, { object_type: 'v', bitrate: 2.6e6, buffer_length_seconds: 2.1, cmcd: { mtp: '(6100;v 900;a)' } }),
        exchange(6, { object_type: 'v' }),
      ],
      [],
    )
    expect(times).toEqual([2, 4, 6])
    expect(buffer).toEqual([0, 2.1, null])
    expect(bitrate).toEqual([1.3e6, 2.6e6, null])
    expect(throughput).toEqual([5.2e6, 6.1e6, null])
  })

  it('draws the audio where there is nothing else', () => {
    expect(timelineOf([exchange(1, { object_type: 'a', buffer_length_seconds: 3 })], []).buffer).toEqual([3])
  })

  it('has times that ascend, and knows where the picture stood', () => {
    const { times, stalls } = timelineOf(
      [exchange(5, { object_type: 'v' }), exchange(5, { object_type: 'v' }), exchange(7, { object_type: 'v' })],
      [{ time: new Date(5500).toISOString(), duration_seconds: 1.5, evidence: 'drain' }],
    )
    expect(times).toEqual([5, 7])
    expect(stalls).toEqual([{ from: 5.5, to: 7 }])
  })
})

describe('compare', () => {
  it.each([
    ['ascending', 1, [1, 2, 3, null]],
    ['descending', -1, [3, 2, 1, null]],
  ])('puts what is not known last, %s', (_, sign, expected) => {
    expect([3, null, 1, 2].sort((a, b) => compare(a, b, sign))).toEqual(expected)
  })
})
