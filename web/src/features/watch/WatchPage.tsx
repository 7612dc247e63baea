import { useCallback, useEffect, useRef, useState, useSyncExternalStore, type MouseEvent } from 'react'
import { CopyButton } from '../../ui/CopyButton'
import { Logo } from '../../ui/Logo'
import { bitrate, count, nothing, seconds } from '../../ui/format'
import { LogPanel } from './LogPanel'
import { addressOf, dashPath, hlsPath, playerNames, readOptions, type Options } from './options'
import type { RequestLog } from './requestLog'
import { say } from './state'
import { expose } from './testSurface'
import { Viewing, type View } from './viewing'
import './watch.css'

const never = () => () => undefined
const noView = () => undefined

/** Behind the live edge by more than this, the page offers to go back to it. */
const farBehind = 20

export function WatchPage({ log }: { log: RequestLog }) {
  const [options, choose] = useOptions()
  const video = useRef<HTMLVideoElement>(null)
  const viewing = useViewing(options, video, log)
  const view = useSyncExternalStore<View | undefined>(viewing?.subscribe ?? never, viewing?.view ?? noView)
  const said = view ? say(view) : { mood: 'waiting' as const, badge: 'Starting', sentence: '' }

  useEffect(() => {
    document.title = options.stream ? `${options.stream} – Weir` : 'Weir'
  }, [options.stream])

  if (!options.stream) return <NoStream />
  return (
    <div className="page">
      <header>
        <Logo />
        <h1>{options.stream}</h1>
        <p className={`badge ${said.mood}`} role="status" aria-live="polite">
          <span aria-hidden="true" className="sign" />
          {said.badge}
        </p>
      </header>
      <main>
        <section className="watch" aria-label="Player">
          <div className="screen">
            <video ref={video} controls muted autoPlay playsInline aria-label={`Live picture of ${options.stream}`} />
            {said.sentence && (
              <p className="sentence" role="status">
                {view?.recovery.phase !== 'failed' && <span className="spinner" aria-hidden="true" />}
                {said.sentence}
              </p>
            )}
          </div>
          {view && <Strip view={view} onLive={() => viewing?.seekToLive()} />}
          <Choices options={options} choose={choose} />
          {view && <Facts options={options} view={view} />}
        </section>
        <LogPanel log={log} />
      </main>
    </div>
  )
}

/** The options live in the address; choosing changes it without loading the page anew. */
function useOptions(): [Options, (change: Partial<Options>) => void] {
  const [options, setOptions] = useState(() => readOptions(location))
  useEffect(() => {
    const follow = () => setOptions(readOptions(location))
    addEventListener('popstate', follow)
    return () => removeEventListener('popstate', follow)
  }, [])
  const choose = useCallback((change: Partial<Options>) => {
    history.pushState(null, '', addressOf({ ...readOptions(location), ...change }))
    setOptions(readOptions(location))
  }, [])
  return [options, choose]
}

function useViewing(options: Options, video: { current: HTMLVideoElement | null }, log: RequestLog): Viewing | undefined {
  const [viewing, setViewing] = useState<Viewing>()
  // The next player waits until the one before has let go of the video element.
  const free = useRef<Promise<void>>(Promise.resolve())
  const { stream, player, cmcd, events, manifest } = options
  useEffect(() => {
    let mine: Viewing | undefined
    let left = false
    void free.current.then(() => {
      if (left || !video.current || !stream) return
      const chosen = { stream, player, cmcd, events, manifest }
      mine = new Viewing(chosen, video.current)
      expose(chosen, mine, log)
      setViewing(mine)
    })
    return () => {
      left = true
      if (mine) free.current = mine.stop()
    }
  }, [stream, player, cmcd, events, manifest, video, log])
  return viewing
}

function Strip({ view, onLive }: { view: View; onLive: () => void }) {
  const stalled = view.stalls.reduce((sum, s) => sum + s.duration, 0)
  const figures: [string, string, string][] = [
    ['Live latency', seconds(view.latency), 'Time between the clock and the time stamped on the frame that is shown'],
    ['Buffer', seconds(view.buffer), 'Media loaded ahead of the playhead'],
    ['Resolution', view.width ? `${view.width} × ${view.height}` : nothing, 'Size of the decoded picture in pixels'],
    ['Bitrate', bitrate(view.bitrate), 'Encoded bitrate of the rendition that plays, as the manifest names it'],
    ['Dropped', view.dropped === undefined ? nothing : `${count(view.dropped)} frames`, 'Frames that this browser decoded too late to show'],
    ['Stalls', view.stalls.length ? `${view.stalls.length} · ${seconds(stalled)}` : '0', 'Times the picture stood still after it had played, and for how long in all; not for a pause or a seek'],
  ]
  return (
    <div className="strip">
      <dl>
        {figures.map(([name, value, definition]) => (
          <div key={name} title={definition}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {(view.latency ?? 0) > farBehind && (
        <button type="button" className="live" onClick={onLive}>
          Go to live
        </button>
      )}
    </div>
  )
}

function Choices({ options, choose }: { options: Options; choose: (change: Partial<Options>) => void }) {
  return (
    <div className="choices">
      <Choice
        label="Player"
        value={options.player}
        of={Object.entries(playerNames) as [Options['player'], string][]}
        choose={(player) => choose({ player })}
      />
      <Choice
        label="CMCD"
        value={options.cmcd}
        of={[
          [1, 'v1'],
          [2, 'v2'],
        ]}
        choose={(cmcd) => choose({ cmcd })}
      />
      {options.player === 'shaka' && (
        <Choice
          label="Manifest"
          value={options.manifest}
          of={[
            ['dash', 'DASH'],
            ['hls', 'HLS'],
          ]}
          choose={(manifest) => choose({ manifest })}
        />
      )}
      <label className="check" title="Version 2 of CMCD also lets the player post reports of what happens to it, in batches of five">
        <input
          type="checkbox"
          checked={options.events}
          disabled={options.cmcd !== 2}
          onChange={(event) => choose({ events: event.target.checked })}
        />
        Event reports{options.cmcd !== 2 && <small> (v2 only)</small>}
      </label>
    </div>
  )
}

interface ChoiceProps<T extends string | number> {
  label: string
  value: T
  of: [T, string][]
  choose: (value: T) => void
}

function Choice<T extends string | number>({ label, value, of, choose }: ChoiceProps<T>) {
  return (
    <fieldset>
      <legend>{label}</legend>
      {of.map(([option, name]) => (
        <label key={option}>
          <input type="radio" name={label} checked={option === value} onChange={() => choose(option)} />
          <span>{name}</span>
        </label>
      ))}
    </fieldset>
  )
}

function Facts({ options, view }: { options: Options; view: View }) {
  const address = (path: string) => new URL(path, location.href).href
  const { restarts } = view.recovery
  const rows: [string, string, string][] = [
    ['Session', view.sid, 'session ID'],
    ['HLS', address(hlsPath(options.stream)), 'HLS address'],
    ['DASH', address(dashPath(options.stream)), 'DASH address'],
  ]
  const latest = view.errors.at(-1)
  return (
    <div className="facts">
      <dl>
        {rows.map(([name, text, label]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              {name === 'Session' ? <code title="CMCD sid: the server knows this playback by it">{text}</code> : <a href={text} onClick={keepPlaying}>{text}</a>}
              <CopyButton text={text} label={label} />
            </dd>
          </div>
        ))}
      </dl>
      {(restarts > 0 || view.errors.length > 0) && (
        <p className="troubles">
          {restarts} {restarts === 1 ? 'restart' : 'restarts'}, {view.errors.length} {view.errors.length === 1 ? 'error' : 'errors'} of the player
          {latest && (
            <>
              . The last: <code>{latest.message}</code>
            </>
          )}
        </p>
      )}
    </div>
  )
}

/** A manifest is a download to most browsers: open it beside the picture, not instead of it. */
function keepPlaying(event: MouseEvent<HTMLAnchorElement>) {
  event.currentTarget.target = '_blank'
  event.currentTarget.rel = 'noopener'
}

function NoStream() {
  return (
    <div className="page">
      <header>
        <Logo />
        <h1>No stream named</h1>
      </header>
      <main className="plain">
        <p>
          The address of a stream is <code>/watch/</code> and its name, such as <a href="/watch/test">/watch/test</a>.
        </p>
      </main>
    </div>
  )
}
