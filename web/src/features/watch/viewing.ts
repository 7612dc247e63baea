import type { Options } from './options'
import { start, type Figures, type Playback } from './players'
import { probe } from './probe'
import { begin, step, type Action, type Happening, type Recovery } from './recovery'

/** Stall is a time at which the picture stood still after it had played, not for a pause or seek. */
export interface Stall {
  /** Unix ms. */
  start: number
  /** Seconds; grows until the picture moves. */
  duration: number
}

/** Trouble is what a player said went wrong. */
export interface Trouble {
  time: number
  message: string
}

/** View is one moment of a viewing, as it is shown. */
export interface View extends Figures {
  /** Unix ms. */
  time: number
  sid: string
  recovery: Recovery
  paused: boolean
  stalled: boolean
  /** Seconds of media ahead of the playhead. */
  buffer?: number
  width: number
  height: number
  dropped?: number
  stalls: readonly Stall[]
  errors: readonly Trouble[]
  warnings: readonly Trouble[]
}

const tickEvery = 250
const maxTroubles = 100

/**
 * Viewing is one playback: it owns the video element from its making to stop, keeps a player on it
 * by the rules of recovery, and counts what the viewer saw. Its session ID stays the same over
 * restarts, for it is the same viewer before the same picture.
 */
export class Viewing {
  readonly sid = crypto.randomUUID()
  private recovery: Recovery
  private playback: Playback | undefined
  /** A start or stop that has not finished; the video element is given to one player at a time. */
  private handover: Promise<void> = Promise.resolve()
  private generation = 0
  private readonly listeners = new Set<() => void>()
  private readonly aborter = new AbortController()
  private readonly timer: ReturnType<typeof setInterval>
  private shown: View
  private position = -1
  private seenPicture = false
  private waitingSince = 0
  private held = false
  private stall: Stall | undefined
  private readonly stalls: Stall[] = []
  private readonly errors: Trouble[] = []
  private readonly warnings: Trouble[] = []

  private readonly options: Options
  private readonly video: HTMLVideoElement

  constructor(options: Options, video: HTMLVideoElement) {
    this.options = options
    this.video = video
    const { next, actions } = begin(Date.now())
    this.recovery = next
    const on = (event: string, f: () => void) => video.addEventListener(event, f, { signal: this.aborter.signal })
    // After a seek the picture stands because the viewer moved it, which is no stall.
    on('waiting', () => (this.waitingSince = video.seeking ? 0 : Date.now()))
    on('seeking', () => (this.waitingSince = 0))
    on('playing', () => (this.waitingSince = 0))
    // Players pause the element while they take it over; only a pause of a running picture is the viewer's.
    on('pause', () => (this.held = this.recovery.phase === 'playing' && !video.ended))
    on('play', () => (this.held = false))
    on('ended', () => this.happen({ type: 'ended' }))
    this.shown = this.look()
    this.timer = setInterval(() => this.tick(), tickEvery)
    this.act(actions)
  }

  /** stop gives the video element back; it is free when the promise is kept. */
  stop(): Promise<void> {
    clearInterval(this.timer)
    this.aborter.abort()
    this.listeners.clear()
    this.leave()
    return this.handover
  }

  seekToLive(): void {
    this.playback?.seekToLive()
    void this.video.play().catch(() => undefined)
  }

  readonly view = (): View => this.shown

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  private tick(): void {
    const { video } = this
    const moved = this.position >= 0 && video.currentTime !== this.position && !video.paused && !video.seeking && video.readyState > 2
    this.position = video.currentTime
    if (moved) {
      this.seenPicture = true
      this.waitingSince = 0
      this.happen({ type: 'progress' })
    } else if (this.held) this.happen({ type: 'idle' })
    this.countStall(moved)
    this.happen({ type: 'tick' })
    this.publish()
  }

  /** A stall shorter than a tick is none that a viewer sees. */
  private countStall(moved: boolean): void {
    const now = Date.now()
    if (this.stall) {
      this.stall.duration = (now - this.stall.start) / 1000
      // A pause ends it: nobody is waiting any more.
      if (moved || this.held) this.stall = undefined
      return
    }
    const absent = this.recovery.phase !== 'playing'
    if (!this.seenPicture || moved || this.held || (!this.waitingSince && !absent)) return
    // A browser that was frozen itself tells no waiting; then the picture stands since it last moved.
    const start = this.waitingSince || this.recovery.moved
    this.stall = { start, duration: (now - start) / 1000 }
    this.stalls.push(this.stall)
  }

  private happen(h: Happening): void {
    if (this.aborter.signal.aborted) return
    const before = this.recovery.phase
    const { next, actions } = step(this.recovery, h, Date.now())
    this.recovery = next
    this.act(actions)
    if (before !== next.phase) this.publish()
  }

  private act(actions: Action[]): void {
    for (const action of actions) {
      switch (action) {
        case 'probe':
          void probe(this.options.stream, this.aborter.signal).then((p) => this.happen({ type: 'probed', probe: p }))
          break
        case 'stop':
          this.leave()
          break
        case 'start':
          this.enter()
      }
    }
  }

  private enter(): void {
    const generation = ++this.generation
    const current = () => generation === this.generation
    this.position = -1
    this.handover = this.handover.then(async () => {
      if (!current()) return
      try {
        const playback = await start(this.options, this.sid, this.video, {
          fatal: (message) => {
            if (current()) this.fail(message)
          },
          warning: (message) => {
            if (current()) remember(this.warnings, message)
          },
        })
        this.playback = playback
        // No play() here: dash.js refreshes the MPD only after a play event that it has seen itself.
      } catch (error) {
        if (current()) this.fail(error instanceof Error ? error.message : String(error))
      }
    })
  }

  private leave(): void {
    this.generation++
    this.handover = this.handover.then(async () => {
      const playback = this.playback
      this.playback = undefined
      await playback?.destroy().catch(() => undefined)
    })
  }

  private fail(message: string): void {
    remember(this.errors, message)
    this.happen({ type: 'fatal' })
  }

  private publish(): void {
    this.shown = this.look()
    for (const listener of this.listeners) listener()
  }

  private look(): View {
    const { video } = this
    return {
      ...this.figures(),
      time: Date.now(),
      sid: this.sid,
      recovery: this.recovery,
      paused: this.held,
      stalled: this.stall !== undefined,
      buffer: ahead(video),
      width: video.videoWidth,
      height: video.videoHeight,
      dropped: video.getVideoPlaybackQuality?.().droppedVideoFrames,
      stalls: [...this.stalls],
      errors: [...this.errors],
      warnings: [...this.warnings],
    }
  }

  private figures(): Figures {
    try {
      return this.playback?.figures() ?? {}
    } catch {
      // A player that is starting or dying has nothing to tell.
      return {}
    }
  }
}

function remember(list: Trouble[], message: string): void {
  list.push({ time: Date.now(), message })
  if (list.length > maxTroubles) list.shift()
}

function ahead(video: HTMLVideoElement): number | undefined {
  const { buffered, currentTime } = video
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) - 0.1 <= currentTime && currentTime <= buffered.end(i)) return buffered.end(i) - currentTime
  }
  return buffered.length > 0 ? 0 : undefined
}
