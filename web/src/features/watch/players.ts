import { allKeys } from '../../cmcd/keys'
import { dashPath, hlsPath, type Options } from './options'

/** Figures are what a player tells of itself; what it does not know is undefined. */
export interface Figures {
  /** Seconds between the frame that is shown and the clock, by the time stamped on the frame. */
  latency?: number
  /** Encoded bitrate of what is played, in bit/s. */
  bitrate?: number
}

/** Playback is one player at work on the page's video element. */
export interface Playback {
  figures(): Figures
  seekToLive(): void
  destroy(): Promise<void>
}

export interface Listener {
  /** The player has given up. */
  fatal(message: string): void
  /** The player has met something and goes on. */
  warning(message: string): void
}

type Start = (options: Options, sid: string, video: HTMLVideoElement, listener: Listener) => Promise<Playback>

const safety = 5

/** Every event that a player knows to report; each sends the subset that it has. */
const events = ['ps', 'bc', 'pr', 'rr', 'e', 't', 'm', 'um', 'b']

/**
 * Reports go out in batches: one POST for each event would double the requests of a viewer. The
 * interval is in seconds.
 */
const target = () => ({ url: absolute('/cmcd'), interval: 10, batchSize: 5, version: 2 as const })

/** Shaka takes a path for the name of a host, so every address is whole. */
const absolute = (path: string) => new URL(path, location.href).href

const hls: Start = async (options, sid, video, listener) => {
  // Not the light build: it has no CMCD.
  const { default: Hls } = await import('hls.js')
  if (!Hls.isSupported()) throw new Error('This browser has no Media Source Extensions, which hls.js needs.')
  const hls = new Hls({
    liveDurationInfinity: true,
    backBufferLength: 30,
    cmcd: {
      sessionId: sid,
      contentId: options.stream,
      useHeaders: false,
      version: options.cmcd,
      rtpSafetyFactor: safety,
      ...(options.events ? { eventTargets: [{ ...target(), events: events as never[] }] } : {}),
    },
  })
  hls.on(Hls.Events.ERROR, (_, data) => {
    const message = `${data.details}${data.response?.code ? ` (status ${data.response.code})` : ''}: ${data.error?.message ?? data.reason ?? data.type}`
    if (data.fatal) listener.fatal(message)
    else listener.warning(message)
  })
  hls.on(Hls.Events.MANIFEST_PARSED, () => void video.play().catch(() => undefined))
  hls.loadSource(absolute(hlsPath(options.stream)))
  hls.attachMedia(video)
  return {
    figures: () => ({
      latency: since(hls.playingDate) ?? positive(hls.latency),
      bitrate: positive(hls.levels[hls.currentLevel]?.bitrate),
    }),
    seekToLive: () => {
      if (hls.liveSyncPosition !== null) video.currentTime = hls.liveSyncPosition
    },
    destroy: () => {
      hls.destroy()
      return Promise.resolve()
    },
  }
}

/**
 * dash.js reports nothing but event and time unless the keys are named. Left out is ttfb: dash.js 5.2.1
 * writes the time of day into it.
 */
const reportKeys = allKeys.filter((key) => key !== 'ttfb')

const dash: Start = async (options, sid, video, listener) => {
  const dashjs = await import('dashjs')
  const player = dashjs.MediaPlayer().create()
  player.updateSettings({
    // A const enum, which is not there at run time: 0 is LOG_LEVEL_NONE.
    debug: { logLevel: 0 },
    streaming: {
      buffer: { bufferToKeep: 30 },
      cmcd: {
        enabled: true,
        sid,
        cid: options.stream,
        mode: 'query',
        version: options.cmcd,
        rtpSafetyFactor: safety,
        includeInRequests: ['segment', 'mpd'],
        ...(options.events ? { eventTargets: [{ ...target(), enabled: true, events, enabledKeys: reportKeys }] } : {}),
      },
    },
  })
  player.on(dashjs.MediaPlayer.events.ERROR, (event) => {
    const error = event.error
    if (typeof error === 'string') return listener.fatal(error)
    const message = `${error.code}: ${error.message}`
    // dash.js goes on after a segment that could not be had (27, 28); the rest is its end.
    if (error.code === 27 || error.code === 28) listener.warning(message)
    else listener.fatal(message)
  })
  player.initialize(video, absolute(dashPath(options.stream)), true)
  // Without this it asks a clock in the internet for the time when the MPD names none.
  player.clearDefaultUTCTimingSources()
  return {
    figures: () => ({
      latency: positive(player.isReady() ? player.getCurrentLiveLatency() : undefined),
      bitrate: positive(player.isReady() ? player.getCurrentRepresentationForType('video')?.bandwidth : undefined),
    }),
    seekToLive: () => player.seekToOriginalLive(),
    destroy: () => {
      player.destroy()
      return Promise.resolve()
    },
  }
}

const shaka: Start = async (options, sid, video, listener) => {
  // The debug build on purpose: in the minified one the Closure compiler renames `sta`, so a session
  // would have neither player states nor any sign of a rebuffer. Vite minifies it all the same.
  const { default: shaka } = await import('shaka-player/dist/shaka-player.compiled-es2021.debug.js')
  shaka.polyfill.installAll()
  if (!shaka.Player.isBrowserSupported()) throw new Error('This browser lacks what Shaka Player needs.')
  const player = new shaka.Player()
  player.configure({
    streaming: { bufferBehind: 30 },
    cmcd: {
      enabled: true,
      sessionId: sid,
      contentId: options.stream,
      useHeaders: false,
      version: options.cmcd,
      rtpSafetyFactor: safety,
      ...(options.events ? { eventTargets: [{ ...target(), enabled: true, mode: 'event', useHeaders: false, includeKeys: [], events }] } : {}),
    },
  })
  const report = (error: InstanceType<typeof shaka.util.Error>) => {
    // A mistake of Shaka's own comes as a plain Error, which has no code.
    const message = error instanceof shaka.util.Error ? `${error.category}.${error.code} ${JSON.stringify(error.data ?? []).slice(0, 200)}` : String(error)
    if (Number(error.severity) === Number(shaka.util.Error.Severity.CRITICAL)) listener.fatal(message)
    else listener.warning(message)
  }
  player.addEventListener('error', (event) => report((event as unknown as { detail: InstanceType<typeof shaka.util.Error> }).detail))
  await player.attach(video)
  // load ends when enough is known to play, or when destroy was called.
  player.load(absolute(options.manifest === 'hls' ? hlsPath(options.stream) : dashPath(options.stream))).then(
    () => void video.play().catch(() => undefined),
    (error: unknown) => {
      if (error instanceof shaka.util.Error && error.code === shaka.util.Error.Code.LOAD_INTERRUPTED) return
      if (error instanceof shaka.util.Error) report(error)
      else listener.fatal(String(error))
    },
  )
  return {
    figures: () => {
      const shown = player.getPlayheadTimeAsDate()
      const stats = player.getStats()
      return { latency: since(shown) ?? positive(stats.liveLatency), bitrate: positive(stats.streamBandwidth) }
    },
    seekToLive: () => player.goToLive(),
    destroy: async () => {
      await player.destroy()
    },
  }
}

/** start loads the chosen player, only that one, and puts it to work. */
export const start: Start = (options, sid, video, listener) => ({ hls, dash, shaka })[options.player](options, sid, video, listener)

function since(date: Date | null | undefined): number | undefined {
  // A stream without clock times counts from 1970, which is no latency.
  const seconds = date ? (Date.now() - date.getTime()) / 1000 : NaN
  return seconds > -5 && seconds < 86_400 ? Math.max(0, seconds) : undefined
}

function positive(n: number | undefined): number | undefined {
  return n !== undefined && Number.isFinite(n) && n > 0 ? n : undefined
}
