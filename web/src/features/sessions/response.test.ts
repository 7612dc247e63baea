import { describe, expect, it } from 'vitest'
import type { Exchange } from '../../api/client'
import { pairsOf, statusOf, told } from './response'

const exchange = (response: Exchange['response']): Exchange => ({
  id: '1', time: '2026-11-20T09:59:00Z', path: '/live/test/x.m4s', kind: 'segment', status: 200, bytes: 1, cache_status: 'hit',
  ttfb_seconds: 0.001, duration_seconds: 0.03, response,
})

describe('the player’s view of a request', () => {
  const at = '2026-11-20T09:59:00Z'

  it('stands beside the edge’s', () => {
    expect(pairsOf(exchange({ time: at, status: 200, ttfb_seconds: 0.12, ttlb_seconds: 1.24 })).map(told)).toEqual([
      'TTFB player 120 ms · edge 1.0 ms: 119 ms in the network and in the player',
      'TTLB player 1.2 s · edge 30 ms: 1.2 s in the network and in the player',
    ])
  })

  it('has no difference where there is none to speak of', () => {
    expect(pairsOf(exchange({ time: at, ttlb_seconds: 0.03 })).map(told)).toEqual(['TTLB player 30 ms · edge 30 ms'])
  })

  it('is not there where the player said nothing', () => {
    expect(pairsOf(exchange(undefined))).toEqual([])
    expect(pairsOf(exchange({ time: at, status: 200 }))).toEqual([])
  })

  it.each([
    [200, undefined],
    [undefined, undefined],
    [404, 'the player got 404'],
    [0, 'the player got no answer'],
  ])('names a status of its own: %s', (status, expected) => {
    expect(statusOf(exchange({ time: at, ...(status === undefined ? {} : { status }) }))).toBe(expected)
  })
})
