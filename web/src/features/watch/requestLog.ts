import { parse, parseBody, type Pair, type Value } from '../../cmcd/parse'
import type { CacheStatus } from './cacheStatus'

/** Raw is the CMCD of a request exactly as it was sent, which is what a validator wants to see. */
export interface Raw {
  kind: 'query' | 'headers' | 'body'
  text: string
  /** The media type of a body. */
  contentType?: string
}

/** Issue is what a validator says of a record. */
export interface Issue {
  severity: 'error' | 'warning'
  /** Absent if it is of the record as a whole. */
  key?: string
  rule: string
  /** Where the specification says so. */
  section?: string
  message: string
  /** Which of the records, from 0. */
  record: number
}

/** Sent is one request that carried CMCD, as it left the page and as it came back. */
export interface Sent {
  id: number
  /** When it was sent, in Unix ms. */
  time: number
  method: string
  url: string
  /** The last part of the path, which people know an object by. */
  object: string
  via: 'query' | 'headers' | 'body'
  /** A request has one record, a POST to the collector may have many. */
  records: Pair[][]
  raw: Raw
  /** The first record's keys with their values as written on the wire, and as they read. */
  keys: Record<string, string>
  values: Record<string, Value>
  /** From here on: as soon as it is known. A status of -1 is a request that got no answer. */
  status?: number
  outcome?: 'aborted' | 'failed'
  cacheStatus?: CacheStatus | ''
  bytes?: number
  ttfb?: number
  duration?: number
  /** What is wrong with its CMCD; absent until the validator has answered. */
  issues?: readonly Issue[]
}

/** What came back. Times are in ms. */
export type Answer = Pick<Sent, 'status' | 'outcome' | 'cacheStatus' | 'bytes' | 'ttfb' | 'duration'>

/** Whether what is in the log gets judged; undefined before the validator was first asked. */
export type ValidatorState = 'answering' | 'unreachable' | undefined

export const maxEntries = 500
const batchDelay = 200

/**
 * RequestLog holds the latest requests that carried CMCD. It stands outside React: a player may send
 * dozens of requests in a second, and those who look at it are told at most five times a second.
 */
export class RequestLog {
  private entries: Sent[] = []
  private shown: readonly Sent[] = []
  private readonly listeners = new Set<() => void>()
  private timer: ReturnType<typeof setTimeout> | undefined
  private nextID = 1
  private validatorState: ValidatorState
  /** How many have ever been added. */
  total = 0

  add(sent: Omit<Sent, 'id' | 'keys' | 'values'>): number {
    const id = this.nextID++
    this.total++
    const first = sent.records[0] ?? []
    this.entries.push({
      ...sent,
      id,
      keys: Object.fromEntries(first.map((p) => [p.key, p.raw])),
      values: Object.fromEntries(first.map((p) => [p.key, p.value])),
    })
    if (this.entries.length > maxEntries) this.entries = this.entries.slice(-maxEntries)
    this.changed()
    return id
  }

  /** finish adds what is known of the answer; an entry that has gone from the log is ignored. */
  finish(id: number, answer: Answer): void {
    const i = this.entries.findIndex((e) => e.id === id)
    const entry = this.entries[i]
    if (!entry) return
    this.entries[i] = { ...entry, ...answer }
    this.changed()
  }

  /** judge adds what a validator says, by the ID of the entry. */
  judge(issues: ReadonlyMap<number, readonly Issue[]>): void {
    this.entries = this.entries.map((entry) => {
      const found = issues.get(entry.id)
      return found ? { ...entry, issues: found } : entry
    })
    this.changed()
  }

  setValidator(state: ValidatorState): void {
    if (state === this.validatorState) return
    this.validatorState = state
    this.changed()
  }

  readonly validator = (): ValidatorState => this.validatorState

  clear(): void {
    this.entries = []
    this.changed()
  }

  /** all is what the log holds now, oldest first. */
  all(): readonly Sent[] {
    return this.entries
  }

  /** newest is what the log held at the last batch, newest first; it changes identity when it changes. */
  readonly newest = (): readonly Sent[] => this.shown

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  private changed(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      this.shown = [...this.entries].reverse()
      for (const listener of this.listeners) listener()
    }, batchDelay)
  }
}

/** What a request says of itself before it is sent. */
export interface Outgoing {
  method: string
  url: string
  headers: Record<string, string>
  body?: string
}

/** describe finds the CMCD of a request, wherever it is; undefined if there is none. */
export function describe(request: Outgoing, base: string): Pick<Sent, 'via' | 'records' | 'raw' | 'object' | 'url' | 'method'> | undefined {
  let url: URL
  try {
    url = new URL(request.url, base)
  } catch {
    return undefined
  }
  const method = request.method.toUpperCase()
  const object = url.pathname.split('/').at(-1) || url.pathname
  const found = { method, url: url.href, object }

  // Headers win over the query (CTA-5004-B §6).
  const headers = Object.entries(request.headers).filter(([name]) => /^cmcd-(request|object|status|session)$/i.test(name))
  if (headers.length > 0) {
    const text = headers.map(([name, value]) => `${name}: ${value}`).join('\n')
    return { ...found, via: 'headers', records: [parse(headers.map(([, value]) => value).join(','))], raw: { kind: 'headers', text } }
  }
  const query = url.searchParams.get('CMCD')
  if (query !== null) {
    // Only this argument: the others are nobody's business.
    const text = url.search.slice(1).split('&').filter((argument) => /^CMCD(=|$)/.test(argument)).join('&')
    return { ...found, via: 'query', records: [parse(query)], raw: { kind: 'query', text } }
  }
  const type = Object.entries(request.headers).find(([name]) => name.toLowerCase() === 'content-type')?.[1]
  if (method === 'POST' && (/^(application|text)\/cmcd\b/i.test(type ?? '') || /\/cmcd$/.test(url.pathname))) {
    const text = request.body ?? ''
    return { ...found, via: 'body', records: parseBody(text), raw: { kind: 'body', text, ...(type ? { contentType: type } : {}) } }
  }
  return undefined
}
