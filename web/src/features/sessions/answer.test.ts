import { describe, expect, it } from 'vitest'
import type { Exchange } from '../../api/client'
import { answerOf } from './answer'

const exchange = (more: Partial<Exchange>): Exchange => ({
  id: '1', time: '2026-11-20T09:59:00Z', path: '/live/test/x.m4s', kind: 'segment', status: 200, bytes: 104_000, cache_status: 'hit',
  ttfb_seconds: 0.001, duration_seconds: 0.03, ...more,
})

const quiet = { sent_bytes: 104_000, retransmitted_bytes: 0, unsent_bytes: 0, busy_seconds: 0, rwnd_limited_seconds: 0, sndbuf_limited_seconds: 0 }

const told = (more: Partial<Exchange>) => answerOf(exchange(more)).map(({ name, value, note }) => [name, value as string, note].filter(Boolean).join(' | '))

describe('how a request was answered', () => {
  it('is nothing more to tell of a small hit', () => {
    expect(told({})).toEqual([])
  })

  it.each([
    ['cold', 'the cache did not know the object'],
    ['expired', 'the cache had it, but it was no longer fresh'],
    ['evicted', 'the cache had given it up for room'],
    ['purged', 'it had been purged'],
    ['ranged', 'the cache had other parts of it'],
    ['uncacheable', 'it may not be kept'],
  ])('says why it was no hit: %s', (reason, words) => {
    expect(told({ cache_status: 'miss', miss_reason: reason })).toEqual([`Why no hit | ${reason} | ${words}`])
  })

  it('passes on a reason that it does not know', () => {
    expect(told({ cache_status: 'miss', miss_reason: 'new' })).toEqual(['Why no hit | new'])
  })

  it('names the origin, its answer, and what was waited for', () => {
    expect(told({
      cache_status: 'collapsed', collapsed_wait_seconds: 0.012, queued_seconds: 0.04, origin: 'origin-1', origin_address: '192.0.2.80:443',
      origin_status: 200, origin_ttfb_seconds: 0.03, origin_duration_seconds: 0.09,
    })).toEqual(['Waited for a fetch | 12 ms', 'Queued | 40 ms', 'Origin | origin-1 | 192.0.2.80:443', 'Origin’s answer | 200 | first byte after 30 ms, last after 90 ms'])
    expect(told({ origin_address: '192.0.2.80:443', origin_status: 503 })).toEqual(['Origin | 192.0.2.80:443', 'Origin’s answer | 503'])
  })

  it('does not call it waiting where nothing was waited for', () => {
    expect(told({ queued_seconds: 0.000005, collapsed_wait_seconds: 0.00099 })).toEqual([])
    expect(told({ queued_seconds: 0.001 })).toEqual(['Queued | 1.0 ms'])
  })

  it('says why the edge refused', () => {
    expect(told({ status: 403, cache_status: 'bypass', refusal: 'token-expired', tenant: 'acme' })).toEqual(['Refused | token-expired', 'Tenant | acme'])
  })

  it('tells what the kernel saw of the connection', () => {
    expect(told({
      tcp: {
        rtt_seconds: 0.0234, min_rtt_seconds: 0.021, sent_bytes: 104_000, retransmitted_bytes: 2080, unsent_bytes: 1448, delivery_rate: 25e6, app_limited: true,
        busy_seconds: 0.31, rwnd_limited_seconds: 0.012, sndbuf_limited_seconds: 0.003,
      },
    })).toEqual([
      'Round trip | 23 ms | shortest 21 ms', 'Sent again | 2.08 kB | 2.00 % of 104 kB', 'Not yet sent | 1.45 kB', 'Delivery rate | 25.0 Mbit/s | or more',
      'Sending | 310 ms | waited 12 ms for room at the viewer, 3.0 ms for room in the send buffer',
    ])
  })

  it('does not tell of a connection what was not measured, but that nothing was lost', () => {
    expect(told({ tcp: quiet })).toEqual(['Sent again | 0 B | 0 % of 104 kB'])
    expect(told({ tcp: { ...quiet, sent_bytes: 0, rtt_seconds: 0.001 } })).toEqual(['Round trip | 1.0 ms'])
    expect(told({ tcp: { ...quiet, delivery_rate: 1e6, busy_seconds: 0.5 } })).toEqual(['Sent again | 0 B | 0 % of 104 kB', 'Delivery rate | 1.00 Mbit/s', 'Sending | 500 ms'])
  })
})
