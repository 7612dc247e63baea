import type { Live } from '../api/client'

/** What the server sends, by the name of the event. */
export interface Topics {
  'viewers:count': { viewers: number; viewers_by_stream: Record<string, number> }
  'metrics:update': Live
  error: { message: string }
}

export type Topic = keyof Topics

/** connecting: for the first time; open: messages come; lost: gone, another try comes at a set time. */
export type FeedState = 'connecting' | 'open' | 'lost'

type Listener = (data: never, time: string) => void

const firstDelay = 500
const longestDelay = 15_000
/** The server speaks each second. A connection that is silent for so long is dead, whatever it says. */
const silence = 10_000

/** backOff is how long to wait after so many failures in a row; chance (0..1) spreads many clients. */
export function backOff(failures: number, chance: number): number {
  const longest = Math.min(longestDelay, firstDelay * 2 ** Math.max(0, failures - 1))
  return longest * (0.5 + chance / 2)
}

/** Feed is the one WebSocket of the dashboard. It connects with its first listener and stays. */
export class Feed {
  private socket: WebSocket | undefined
  private readonly topics = new Map<string, Set<Listener>>()
  private readonly watchers = new Set<() => void>()
  private failures = 0
  private current: FeedState = 'connecting'
  private retry: ReturnType<typeof setTimeout> | undefined
  private watchdog: ReturnType<typeof setTimeout> | undefined

  private readonly url: string
  private readonly open: (url: string) => WebSocket
  private readonly chance: () => number

  constructor(url: string, open: (url: string) => WebSocket = (u) => new WebSocket(u), chance: () => number = Math.random) {
    this.url = url
    this.open = open
    this.chance = chance
  }

  on<T extends Topic>(topic: T, listener: (data: Topics[T], time: string) => void): () => void {
    const listeners = this.topics.get(topic) ?? new Set()
    this.topics.set(topic, listeners)
    listeners.add(listener)
    this.start()
    return () => listeners.delete(listener)
  }

  readonly state = (): FeedState => this.current

  readonly watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher)
    return () => this.watchers.delete(watcher)
  }

  /** start connects if nothing is under way; a lost connection is tried again at once. */
  start(): void {
    if (this.socket) return
    clearTimeout(this.retry)
    let socket: WebSocket
    try {
      socket = this.open(this.url)
    } catch {
      this.lose()
      return
    }
    this.socket = socket
    this.expectWord()
    socket.onmessage = (event) => {
      this.expectWord()
      this.failures = 0
      this.become('open')
      this.deliver(event.data)
    }
    socket.onclose = () => this.lose()
    // An error is always followed by close.
    socket.onerror = () => undefined
  }

  close(): void {
    clearTimeout(this.retry)
    this.drop()
  }

  private drop(): void {
    clearTimeout(this.watchdog)
    const { socket } = this
    this.socket = undefined
    if (!socket) return
    socket.onmessage = socket.onclose = socket.onerror = null
    socket.close()
  }

  private lose(): void {
    this.drop()
    this.failures++
    this.become('lost')
    clearTimeout(this.retry)
    this.retry = setTimeout(() => this.start(), backOff(this.failures, this.chance()))
  }

  private expectWord(): void {
    clearTimeout(this.watchdog)
    this.watchdog = setTimeout(() => this.lose(), silence)
  }

  private deliver(text: unknown): void {
    let message: { event?: unknown; time?: unknown; data?: unknown }
    try {
      message = JSON.parse(String(text)) as typeof message
    } catch {
      return
    }
    if (typeof message?.event !== 'string') return
    for (const listener of this.topics.get(message.event) ?? []) listener(message.data as never, String(message.time))
  }

  private become(state: FeedState): void {
    if (state === this.current) return
    this.current = state
    for (const watcher of this.watchers) watcher()
  }
}
