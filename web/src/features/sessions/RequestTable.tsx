import { Select, TextInput } from '@mantine/core'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useMemo, useRef, useState } from 'react'
import type { Exchange } from '../../api/client'
import { Sign, type Tone } from '../../ui/Sign'
import { Defined } from '../../ui/Defined'
import { Facts } from '../../ui/Facts'
import { bitrate, bytes, middle, nothing, seconds, time } from '../../ui/format'
import { answerOf } from './answer'
import { Keys } from './Keys'
import { pairsOf, statusOf, told } from './response'

interface Column {
  id: string
  name: string
  definition: string
  width: string
  right?: boolean
  /** What the column is sorted by. */
  by: (e: Exchange) => number | string | null
  show: (e: Exchange) => React.ReactNode
}

const columns: Column[] = [
  { id: 'time', name: 'Time', definition: 'When the edge had the request', width: '104px', by: (e) => Date.parse(e.time), show: (e) => time(e.time, true) },
  { id: 'object', name: 'Object', definition: 'The last part of the path; the whole path is in the open row', width: 'minmax(150px, 1fr)', by: (e) => objectOf(e), show: (e) => middle(objectOf(e), 8, 14) },
  { id: 'kind', name: 'Kind', definition: 'What the object is, and its type by CMCD (ot)', width: '112px', by: (e) => kindOf(e), show: (e) => kindOf(e) },
  { id: 'status', name: 'Status', definition: 'Status code of the answer', width: '74px', by: (e) => e.status, show: (e) => <Status e={e} /> },
  { id: 'cache', name: 'Cache', definition: 'What the edge did: hit, miss, stale, collapsed (waited for the fetch of another request) or bypass; and why it was no hit. A request that was refused did not come so far', width: '128px', by: (e) => e.cache_status, show: (e) => <Cache e={e} /> },
  { id: 'bytes', name: 'Bytes', definition: 'Body bytes sent', width: '76px', right: true, by: (e) => e.bytes, show: (e) => bytes(e.bytes) },
  { id: 'ttfb', name: 'TTFB', definition: 'From the request’s head to the first byte of the answer, at the edge', width: '76px', right: true, by: (e) => e.ttfb_seconds, show: (e) => seconds(e.ttfb_seconds) },
  { id: 'duration', name: 'Duration', definition: 'From the request’s head to the last byte of the answer, at the edge', width: '82px', right: true, by: (e) => e.duration_seconds, show: (e) => seconds(e.duration_seconds) },
  { id: 'origin', name: 'Origin TTFB', definition: 'From asking the origin to its first byte; nothing where it was not asked', width: '98px', right: true, by: (e) => e.origin_ttfb_seconds ?? null, show: (e) => seconds(e.origin_ttfb_seconds) },
  { id: 'bitrate', name: 'Bitrate', definition: 'Encoded bitrate of the object, as the player told (CMCD br)', width: '98px', right: true, by: (e) => e.bitrate ?? null, show: (e) => bitrate(e.bitrate) },
  { id: 'buffer', name: 'Buffer', definition: 'Buffer length when the object was requested, as the player told (CMCD bl)', width: '82px', right: true, by: (e) => e.buffer_length_seconds ?? null, show: (e) => <Buffer e={e} /> },
]

/** Only where the player reported what it saw of the answers. */
const playerColumn: Column = {
  id: 'player', name: 'At player', definition: 'From asking to the last byte, as the player reported (CMCD event rr). What it is longer than Duration, the edge’s, was taken by the network and by waiting in the player',
  width: '88px', right: true, by: (e) => e.response?.ttlb_seconds ?? null, show: (e) => <AtPlayer e={e} />,
}

const behindDuration = columns.findIndex((c) => c.id === 'duration') + 1
const columnsWithPlayer = [...columns.slice(0, behindDuration), playerColumn, ...columns.slice(behindDuration)]

const rowHeight = 33

const kinds = [
  { value: 'all', label: 'All requests' },
  { value: 'segment', label: 'Segments' },
  { value: 'manifest', label: 'Manifests' },
  { value: 'missed', label: 'Not from the cache' },
  { value: 'failed', label: 'Failed or aborted' },
]

/** RequestTable is every request of a session; only the rows in view are in the page. */
export function RequestTable({ exchanges }: { exchanges: Exchange[] }) {
  const [sort, setSort] = useState({ id: 'time', descending: true })
  const [kind, setKind] = useState('all')
  const [text, setText] = useState('')
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  const scroller = useRef<HTMLDivElement>(null)
  const reported = useMemo(() => exchanges.some((e) => e.response), [exchanges])
  const shown = reported ? columnsWithPlayer : columns
  const template = shown.map((c) => c.width).join(' ')

  const rows = useMemo(() => {
    const wanted = text.trim().toLowerCase()
    const column = columnsWithPlayer.find((c) => c.id === sort.id)
    const sign = sort.descending ? -1 : 1
    return exchanges
      .filter((e) => ofKind(e, kind) && (wanted === '' || textOf(e).includes(wanted)))
      .sort((a, b) => (column ? compare(column.by(a), column.by(b), sign) : 0))
  }, [exchanges, kind, text, sort])

  // The virtualizer is meant to change without React knowing; the compiler's rule does not apply.
  // eslint-disable-next-line react-hooks/incompatible-library
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    getItemKey: (i) => rows[i]?.id ?? i,
    overscan: 12,
  })

  const toggle = (id: string) => {
    const next = new Set(open)
    if (!next.delete(id)) next.add(id)
    setOpen(next)
  }

  return (
    <>
      <div className="filters">
        <TextInput aria-label="Filter the requests" placeholder="Filter: m4s, bs, miss…" value={text} onChange={(e) => setText(e.currentTarget.value)} />
        <Select aria-label="Which requests" data={kinds} value={kind} onChange={(v) => setKind(v ?? 'all')} allowDeselect={false} />
        <p className="asof" role="status">
          {rows.length} of {exchanges.length} requests
        </p>
      </div>
      <div className="sheet grid" role="table" aria-label="Requests" aria-rowcount={rows.length + 1} ref={scroller} tabIndex={0}>
        <div className="head" role="row" style={{ gridTemplateColumns: template }}>
          {shown.map((c) => (
            <div key={c.id} role="columnheader" aria-sort={sort.id === c.id ? (sort.descending ? 'descending' : 'ascending') : 'none'} className={c.right ? 'right' : undefined}>
              <button type="button" onClick={() => setSort({ id: c.id, descending: sort.id === c.id ? !sort.descending : c.id !== 'object' })}>
                <Defined definition={c.definition} inside>
                  {c.name}
                </Defined>
                <span aria-hidden="true">{sort.id === c.id ? (sort.descending ? ' ↓' : ' ↑') : ''}</span>
              </button>
            </div>
          ))}
        </div>
        <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative', minWidth: 'max-content' }}>
          {virtual.getVirtualItems().map((item) => {
            const e = rows[item.index]
            if (!e) return null
            const isOpen = open.has(e.id)
            return (
              <div key={item.key} ref={virtual.measureElement} data-index={item.index} className="item" style={{ transform: `translateY(${item.start}px)` }}>
                <div
                  role="row"
                  aria-rowindex={item.index + 2}
                  className={`line${e.status >= 400 ? ' failed' : ''}${e.buffer_starved ? ' starved' : ''}`}
                  style={{ gridTemplateColumns: template }}
                  onClick={() => toggle(e.id)}
                >
                  {shown.map((c) => (
                    <div key={c.id} role="cell" className={c.right ? 'right' : undefined}>
                      {c.id === 'object' ? (
                        <button
                          type="button"
                          aria-expanded={isOpen}
                          onClick={(event) => {
                            event.stopPropagation()
                            toggle(e.id)
                          }}
                        >
                          <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span> {c.show(e)}
                        </button>
                      ) : (
                        c.show(e)
                      )}
                    </div>
                  ))}
                </div>
                {isOpen && (
                  <div className="more">
                    <p>
                      <code>{e.path}</code>
                    </p>
                    <Answer e={e} />
                    <Seen e={e} />
                    <Keys cmcd={e.cmcd} />
                  </div>
                )}
              </div>
            )
          })}
        </div>
        {rows.length === 0 && <p className="quiet none">No request fits.</p>}
      </div>
    </>
  )
}

function Status({ e }: { e: Exchange }) {
  if (e.aborted) {
    return (
      <Sign tone="fair" mark="⊘">
        {e.status > 0 ? `${e.status} aborted` : 'aborted'}
      </Sign>
    )
  }
  return (
    <Sign tone={e.status >= 400 || e.status === 0 ? 'bad' : 'quiet'} mark={e.status >= 400 || e.status === 0 ? '✕' : '✓'}>
      {e.status > 0 ? String(e.status) : 'none'}
    </Sign>
  )
}

const caches: Record<string, { tone: Tone; mark: string }> = {
  hit: { tone: 'good', mark: '●' },
  stale: { tone: 'fair', mark: '◑' },
  collapsed: { tone: 'good', mark: '◐' },
  miss: { tone: 'fair', mark: '○' },
  bypass: { tone: 'quiet', mark: '→' },
}

function Cache({ e }: { e: Exchange }) {
  if (e.refusal) {
    return (
      <span title={`The request was refused: ${e.refusal}`}>
        <Sign tone="bad" mark="⊘">
          refused
        </Sign>
      </span>
    )
  }
  const known = caches[e.cache_status]
  if (!known) return <>{e.cache_status || nothing}</>
  return (
    <Sign tone={known.tone} mark={known.mark}>
      {e.miss_reason ? `${e.cache_status}, ${e.miss_reason}` : e.cache_status}
    </Sign>
  )
}

function Buffer({ e }: { e: Exchange }) {
  if (!e.buffer_starved) return <>{seconds(e.buffer_length_seconds)}</>
  return (
    <span title="The player told that its buffer had run dry (CMCD bs); players do after a seek, too">
      <Sign tone="bad" mark="▮▮">
        {seconds(e.buffer_length_seconds)}
      </Sign>
    </span>
  )
}

function AtPlayer({ e }: { e: Exchange }) {
  const pair = pairsOf(e).find((p) => p.name === 'TTLB')
  if (!pair) return <>{nothing}</>
  return <span title={told(pair)}>{seconds(pair.player)}</span>
}

/** Answer is how the edge came by its answer, and what its kernel saw of the connection. */
function Answer({ e }: { e: Exchange }) {
  const facts = answerOf(e)
  return facts.length > 0 ? <Facts facts={facts} /> : null
}

/** Seen is what the player reported of the answer, beside what the edge did. */
function Seen({ e }: { e: Exchange }) {
  const lines = [...pairsOf(e).map(told), ...[statusOf(e) ?? []].flat()]
  if (lines.length === 0) return null
  return (
    <ul aria-label="As the player saw it">
      {lines.map((line) => (
        <li key={line}>{line}</li>
      ))}
    </ul>
  )
}

const objectOf = (e: Exchange) => e.path.split('/').at(-1) || e.path

const types: Record<string, string> = { v: 'video', a: 'audio', av: 'audio and video', c: 'caption', tt: 'timed text', i: 'init', m: 'manifest', k: 'key' }

function kindOf(e: Exchange): string {
  const type = types[e.object_type ?? '']
  return e.kind === 'segment' && type ? type : e.kind
}

function ofKind(e: Exchange, kind: string): boolean {
  switch (kind) {
    case 'all':
      return true
    case 'missed':
      return e.cache_status === 'miss' || e.cache_status === 'bypass'
    case 'failed':
      return e.status >= 400 || e.status === 0 || Boolean(e.aborted)
    default:
      return e.kind === kind
  }
}

function textOf(e: Exchange): string {
  const keys = Object.entries(e.cmcd ?? {}).map(([key, raw]) => `${key}=${raw}`)
  return [e.path, e.kind, e.status, e.cache_status, e.miss_reason, e.refusal, e.tenant, e.origin, ...keys].join(' ').toLowerCase()
}

/** What is not known stands last, whichever way the rest is sorted. */
export function compare(a: number | string | null, b: number | string | null, sign: number): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1
  return sign * (a < b ? -1 : a > b ? 1 : 0)
}
