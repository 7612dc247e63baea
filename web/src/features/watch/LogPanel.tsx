import { memo, useDeferredValue, useMemo, useRef, useState, useSyncExternalStore } from 'react'
import { meaning } from '../../cmcd/keys'
import type { Pair } from '../../cmcd/parse'
import { bytes, middle, nothing, seconds, time } from '../../ui/format'
import { maxEntries, type RequestLog, type Sent } from './requestLog'

/**
 * LogPanel shows the keys as they are sent, newest on top. It holds still while somebody reads it:
 * under the pointer, with the focus in it, or scrolled down.
 */
export function LogPanel({ log }: { log: RequestLog }) {
  const newest = useSyncExternalStore(log.subscribe, log.newest)
  const list = useRef<HTMLOListElement>(null)
  const [filter, setFilter] = useState('')
  const wanted = useDeferredValue(filter.trim().toLowerCase())
  const [pointed, setPointed] = useState(false)
  const [focused, setFocused] = useState(false)
  const [scrolled, setScrolled] = useState(false)
  // The newest entry when the reading began.
  const [mark, setMark] = useState<number>()

  const held = pointed || focused || scrolled
  if (held && mark === undefined) setMark(newest[0]?.id ?? 0)
  if (!held && mark !== undefined) setMark(undefined)

  const matching = useMemo(() => (wanted === '' ? newest : newest.filter((sent) => textOf(sent).includes(wanted))), [newest, wanted])
  const shown = mark === undefined ? matching : matching.filter((sent) => sent.id <= mark)
  const fresh = matching.length - shown.length

  const catchUp = () => {
    setMark(newest[0]?.id ?? 0)
    list.current?.scrollTo({ top: 0 })
  }

  return (
    <section className="log" aria-label="CMCD as it is sent">
      <div className="bar">
        <h2>CMCD as it is sent</h2>
        <input
          type="search"
          placeholder="Filter: bs, .m4s, miss…"
          aria-label="Filter the log"
          value={filter}
          onChange={(event) => setFilter(event.target.value)}
        />
        <button type="button" onClick={() => log.clear()}>
          Clear
        </button>
      </div>
      <div
        className="pane"
        onPointerEnter={(event) => setPointed(event.pointerType === 'mouse')}
        onPointerLeave={() => setPointed(false)}
        onFocus={(event) => setFocused(event.target.matches(':focus-visible'))}
        onBlur={() => setFocused(false)}
      >
        {fresh > 0 && (
          <button type="button" className="pill" onClick={catchUp}>
            {fresh} new
          </button>
        )}
        {shown.length === 0 && (
          <p className="empty">
            {wanted === ''
              ? 'Nothing sent yet. Each request of the player will stand here with the CMCD keys that it carries.'
              : `None of the last ${newest.length} requests has “${filter.trim()}” in it.`}
          </p>
        )}
        <ol ref={list} tabIndex={0} aria-label="Requests, newest first" onScroll={(event) => setScrolled(event.currentTarget.scrollTop > 8)}>
          {shown.map((sent) => (
            <Row key={sent.id} sent={sent} />
          ))}
        </ol>
      </div>
      <p className="foot">
        {held ? 'Held while you read' : 'Following'} · {shown.length} of the last {maxEntries} · point at a key for its meaning
      </p>
    </section>
  )
}

const Row = memo(function Row({ sent }: { sent: Sent }) {
  const [open, setOpen] = useState(false)
  const answer = outcome(sent)
  return (
    <li className={answer.bad ? 'bad' : undefined}>
      <button type="button" className="line" aria-expanded={open} onClick={() => setOpen(!open)} title={sent.url}>
        <time>{time(sent.time, true)}</time>
        <span className="object">
          {sent.via === 'body' ? `POST ${sent.object}` : middle(sent.object)}
          {sent.records.length > 1 && <small> × {sent.records.length}</small>}
        </span>
        <span className={`answer ${sent.cacheStatus ?? ''}`}>
          {answer.sign} {answer.text}
        </span>
        <span className="size">{bytes(sent.bytes)}</span>
        <span className="took">{sent.duration === undefined ? nothing : seconds(sent.duration / 1000)}</span>
      </button>
      {sent.records.map((record, i) => (
        <Chips key={i} record={record} open={open} />
      ))}
    </li>
  )
})

function Chips({ record, open }: { record: Pair[]; open: boolean }) {
  if (open) {
    return (
      <dl className="chips open">
        {record.map(({ key, raw }, i) => (
          <div key={i}>
            <dt>{raw === '' ? key : `${key}=${raw}`}</dt>
            <dd>{meaning(key, raw)}</dd>
          </div>
        ))}
      </dl>
    )
  }
  return (
    <ul className="chips">
      {record.map(({ key, raw }, i) => (
        <li key={i} title={`${key} – ${meaning(key, raw)}`} className={key === 'bs' ? 'loud' : undefined}>
          <b>{key}</b>
          {raw !== '' && <>={short(raw)}</>}
        </li>
      ))}
    </ul>
  )
}

/** A chip is as long as a UUID's beginning: the whole value is in the open row. */
function short(raw: string): string {
  return raw.length > 26 ? `${raw.slice(0, 18)}…${raw.slice(-4)}` : raw
}

function outcome(sent: Sent): { sign: string; text: string; bad: boolean } {
  if (sent.outcome) return { sign: '✕', text: sent.outcome, bad: sent.outcome === 'failed' }
  if (sent.status === undefined) return { sign: '…', text: 'sent', bad: false }
  if (sent.status >= 400) return { sign: '✕', text: String(sent.status), bad: true }
  switch (sent.cacheStatus) {
    case 'hit':
      return { sign: '●', text: `${sent.status} hit`, bad: false }
    case 'stale':
      return { sign: '◑', text: `${sent.status} stale`, bad: false }
    case 'collapsed':
      return { sign: '◐', text: `${sent.status} collapsed`, bad: false }
    case 'miss':
      return { sign: '○', text: `${sent.status} miss`, bad: false }
    case 'bypass':
      return { sign: '→', text: `${sent.status} bypass`, bad: false }
    default:
      return { sign: '✓', text: String(sent.status), bad: false }
  }
}

const texts = new WeakMap<Sent, string>()

function textOf(sent: Sent): string {
  let text = texts.get(sent)
  if (text === undefined) {
    const keys = sent.records.flatMap((record) => record.map(({ key, raw }) => (raw === '' ? key : `${key}=${raw}`)))
    text = [sent.object, sent.method, sent.status, sent.cacheStatus, sent.outcome, ...keys].join(' ').toLowerCase()
    texts.set(sent, text)
  }
  return text
}
