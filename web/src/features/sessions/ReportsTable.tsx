import type { PlayerEvent } from '../../api/client'
import { meaning } from '../../cmcd/keys'
import { dateTime, nothing, time } from '../../ui/format'
import { Keys } from './Keys'

const shownAtOnce = 200

/** ReportsTable is what the player posted of itself, newest first, by the server’s clock. */
export function ReportsTable({ reports }: { reports: PlayerEvent[] }) {
  const newest = reports.slice(-shownAtOnce).reverse()
  return (
    <div className="sheet reports">
      {newest.map((r, i) => (
        <details key={`${r.time} ${reports.length - i}`}>
          <summary>
            <time title={playersClock(r)}>{time(r.time, true)}</time>
            <b>{after(meaning('e', r.event)) || r.event}</b>
            <span className="quiet">{[objectOf(r), r.state ? after(meaning('sta', r.state)) || r.state : ''].filter(Boolean).join(' · ') || nothing}</span>
          </summary>
          <Keys cmcd={r.cmcd} />
          {r.playback && (
            <dl className="keys">
              {Object.entries(r.playback).map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{String(value)}</dd>
                </div>
              ))}
            </dl>
          )}
        </details>
      ))}
      {reports.length > shownAtOnce && <p className="quiet none">The newest {shownAtOnce} of {reports.length} reports.</p>}
    </div>
  )
}

/** What the player’s own clock said (CMCD ts), which may be off. Of a response that is when it was asked for. */
function playersClock(r: PlayerEvent): string {
  const ts = Number(r.cmcd['ts'])
  const at = new Date(ts)
  if (!(ts > 0) || Number.isNaN(at.getTime())) return ''
  const day = new Date(r.time)
  const told = at.toDateString() === day.toDateString() ? time(at, true) : dateTime(at, day)
  return r.event === 'rr' ? `Received then. Asked for at ${told} by the player’s clock.` : `Player’s clock: ${told}`
}

/** What a response was to: the last part of the path. */
function objectOf(r: PlayerEvent): string {
  const url = r.cmcd['url']
  return url === undefined ? '' : (url.replace(/^"|"$/g, '').split(/[?#]/)[0]?.split('/').at(-1) ?? '')
}

const after = (text: string) => text.split(': ')[1] ?? ''
