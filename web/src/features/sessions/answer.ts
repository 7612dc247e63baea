import type { Exchange } from '../../api/client'
import type { Fact } from '../../ui/Facts'
import { bitrate, bytes, percent, seconds } from '../../ui/format'

const missReasons: Record<string, string> = {
  cold: 'the cache did not know the object',
  expired: 'the cache had it, but it was no longer fresh',
  evicted: 'the cache had given it up for room',
  purged: 'it had been purged',
  ranged: 'the cache had other parts of it',
  uncacheable: 'it may not be kept',
}

/** Shorter is no waiting: it is what the program takes to look whether it must. */
const leastWait = 0.001

/** answerOf is how the edge came by its answer, and how the answer reached the viewer, as far as it is known. */
export function answerOf(e: Exchange): Fact[] {
  return [...refusalOf(e), ...cacheOf(e), ...originOf(e), ...connectionOf(e)]
}

function refusalOf(e: Exchange): Fact[] {
  const facts: Fact[] = []
  if (e.refusal) facts.push({ name: 'Refused', definition: 'Why the edge refused the request. The viewer is told the status alone.', value: e.refusal })
  if (e.tenant) facts.push({ name: 'Tenant', definition: 'Whom the viewer’s grant is for.', value: e.tenant })
  return facts
}

function cacheOf(e: Exchange): Fact[] {
  const facts: Fact[] = []
  if (e.miss_reason) {
    facts.push({ name: 'Why no hit', definition: 'Why the cache could not answer by itself.', value: e.miss_reason, note: missReasons[e.miss_reason] })
  }
  if ((e.collapsed_wait_seconds ?? 0) >= leastWait) {
    facts.push({ name: 'Waited for a fetch', definition: 'How long it waited for bytes of another request’s fetch from the origin.', value: seconds(e.collapsed_wait_seconds) })
  }
  if ((e.queued_seconds ?? 0) >= leastWait) {
    facts.push({ name: 'Queued', definition: 'How long the fetch waited for its turn to ask the origin.', value: seconds(e.queued_seconds) })
  }
  return facts
}

function originOf(e: Exchange): Fact[] {
  const facts: Fact[] = []
  if (e.origin || e.origin_address) {
    facts.push({ name: 'Origin', definition: 'The origin that answered, and where it was.', value: e.origin || e.origin_address, note: e.origin ? e.origin_address : undefined })
  }
  if (e.origin_status) {
    const times = [e.origin_ttfb_seconds && `first byte after ${seconds(e.origin_ttfb_seconds)}`, e.origin_duration_seconds && `last after ${seconds(e.origin_duration_seconds)}`]
    facts.push({
      name: 'Origin’s answer', definition: 'The status that the origin answered with, and the time from asking it to its first and last byte.',
      value: String(e.origin_status), note: times.filter(Boolean).join(', ') || undefined,
    })
  }
  return facts
}

function connectionOf(e: Exchange): Fact[] {
  const tcp = e.tcp
  if (!tcp) return []
  const facts: Fact[] = []
  if (tcp.rtt_seconds) {
    facts.push({
      name: 'Round trip', definition: 'Time to the viewer and back (TCP, smoothed). Far above the shortest, it is a queue in the network.',
      value: seconds(tcp.rtt_seconds), note: tcp.min_rtt_seconds ? `shortest ${seconds(tcp.min_rtt_seconds)}` : undefined,
    })
  }
  if (tcp.sent_bytes) {
    facts.push({
      name: 'Sent again', definition: 'Bytes that were lost on the way or late, of all that were sent on the connection since the large answer before.',
      value: bytes(tcp.retransmitted_bytes), note: `${percent(tcp.retransmitted_bytes / tcp.sent_bytes)} of ${bytes(tcp.sent_bytes)}`,
    })
  }
  if (tcp.unsent_bytes) {
    facts.push({ name: 'Not yet sent', definition: 'What the edge had handed to the kernel and the network had not taken when the answer was done.', value: bytes(tcp.unsent_bytes) })
  }
  if (tcp.delivery_rate) {
    facts.push({
      name: 'Delivery rate', definition: 'The last rate that the network was measured to deliver at. It is a lower bound where the network was not given more.',
      value: bitrate(tcp.delivery_rate), note: tcp.app_limited ? 'or more' : undefined,
    })
  }
  if (tcp.busy_seconds) {
    facts.push({
      name: 'Sending', definition: 'How long there was something to send or on its way. Of that, the viewer may have had no room for more: its player or machine was too slow.',
      value: seconds(tcp.busy_seconds), note: waitsOf(tcp),
    })
  }
  return facts
}

function waitsOf(tcp: NonNullable<Exchange['tcp']>): string | undefined {
  const waits = [
    tcp.rwnd_limited_seconds && `${seconds(tcp.rwnd_limited_seconds)} for room at the viewer`,
    tcp.sndbuf_limited_seconds && `${seconds(tcp.sndbuf_limited_seconds)} for room in the send buffer`,
  ].filter(Boolean)
  return waits.length > 0 ? `waited ${waits.join(', ')}` : undefined
}
