import { memo, useDeferredValue, useMemo, useRef, useState, useSyncExternalStore } from 'react'
import { meaning } from '../../cmcd/keys'
import type { Pair } from '../../cmcd/parse'
import { bytes, middle, nothing, seconds, time } from '../../ui/format'
import { maxEntries, type Issue, type RequestLog, type Sent } from './requestLog'

/**
 * LogPanel shows the keys as they are sent, newest on top. It holds still while somebody reads it:
 * under the pointer, with the focus in it, or scrolled down.
 */
export function LogPanel({ log }: { log: RequestLog }) {
  const newest = useSyncExternalStore(log.subscribe, log.newest)
  const reachable = useSyncExternalStore(log.subscribe, log.validator) !== 'unreachable'
  const list = useRef<HTMLOListElement>(null)
  const [filter, setFilter] = useState('')
  const wanted = useDeferredValue(filter.trim().toLowerCase())
  const [onlyViolations, setOnlyViolations] = useState(false)
  const [pointed, setPointed] = useState(false)
  const [focused, setFocused] = useState(false)
  const [scrolled, setScrolled] = useState(false)
  // The newest entry when the reading began.
  const [mark, setMark] = useState<number>()

  const held = pointed || focused || scrolled
  if (held && mark === undefined) setMark(newest[0]?.id ?? 0)
  if (!held && mark !== undefined) setMark(undefined)

  const matching = useMemo(
    () => newest.filter((sent) => (wanted === '' || textOf(sent).includes(wanted)) && (!onlyViolations || sent.issues?.some(isError))),
    [newest, wanted, onlyViolations],
  )
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
      <div className="tally">
        <Tally newest={newest} reachable={reachable} />
        <label>
          <input type="checkbox" checked={onlyViolations} onChange={(event) => setOnlyViolations(event.target.checked)} />
          Only violations
        </label>
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
        {shown.length === 0 && <p className="empty">{noneOf(newest, filter.trim(), onlyViolations, reachable)}</p>}
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

/** noneOf says why nothing is shown. Of what was not checked it claims nothing. */
function noneOf(newest: readonly Sent[], filter: string, onlyViolations: boolean, reachable: boolean): string {
  if (newest.length === 0) return 'Nothing sent yet. Each request of the player will stand here with the CMCD keys that it carries.'
  if (!onlyViolations) return `None of the last ${counted(newest.length, 'request')} has “${filter}” in it.`
  const unchecked = newest.filter((sent) => sent.issues === undefined).length
  const checked = newest.length - unchecked
  const why = reachable ? ' yet' : ': the validator cannot be reached'
  if (checked === 0) return `None of the last ${counted(newest.length, 'request')} has been checked${why}.`
  return (
    `None of the ${counted(checked, 'request')} that ${checked === 1 ? 'was' : 'were'} checked has ` +
    `${filter && `“${filter}” in it and `}a violation${unchecked > 0 ? `; ${unchecked} not checked${why}` : ''}.`
  )
}

/** Tally counts what is in the log. Before the validator has answered it says nothing of violations. */
function Tally({ newest, reachable }: { newest: readonly Sent[]; reachable: boolean }) {
  const judged = newest.filter((sent) => sent.issues !== undefined)
  const issues = judged.flatMap((sent) => sent.issues ?? [])
  const errors = issues.filter(isError).length
  return (
    <p title="By the letter of CTA-5004 and CTA-5004-B: a violation is against a MUST, a warning against a SHOULD">
      {counted(newest.length, 'request')}
      {judged.length > 0 && (
        <>
          {' · '}
          <span className={errors > 0 ? 'error' : undefined}>{counted(errors, 'violation')}</span>
          {issues.length > errors && ` · ${counted(issues.length - errors, 'warning')}`}
        </>
      )}
      {!reachable && judged.length < newest.length && (
        <>
          {' · '}
          <span>the validator cannot be reached: {newest.length - judged.length} not checked</span>
        </>
      )}
    </p>
  )
}

const Row = memo(function Row({ sent }: { sent: Sent }) {
  const [open, setOpen] = useState(false)
  const answer = outcome(sent)
  const errors = sent.issues?.filter(isError).length ?? 0
  const warnings = (sent.issues?.length ?? 0) - errors
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
        {errors + warnings > 0 && (
          <span className="visually-hidden">
            {errors > 0 && `, ${counted(errors, 'violation')}`}
            {warnings > 0 && `, ${counted(warnings, 'warning')}`}
          </span>
        )}
      </button>
      {(sent.records.length > 0 ? sent.records : [[]]).map((record, i) => (
        <Chips key={i} record={record} open={open} issues={sent.issues?.filter((issue) => issue.record === i) ?? none} />
      ))}
    </li>
  )
})

const none: readonly Issue[] = []

function Chips({ record, open, issues }: { record: Pair[]; open: boolean; issues: readonly Issue[] }) {
  // What is missing has no chip of its own, and neither has what is wrong with the whole.
  const elsewhere = issues.filter((issue) => !record.some((pair) => pair.key === issue.key))
  if (open) {
    return (
      <dl className="chips open">
        {record.map(({ key, raw }, i) => {
          const own = issues.filter((issue) => issue.key === key)
          return (
            <div key={i} className={severity(own)}>
              <dt>
                <Mark issues={own} />
                {raw === '' ? key : `${key}=${raw}`}
              </dt>
              <dd>{meaning(key, raw)}</dd>
              {own.map((issue, j) => (
                <Said key={j} issue={issue} />
              ))}
            </div>
          )
        })}
        {elsewhere.map((issue, i) => (
          <div key={`issue ${i}`} className={issue.severity}>
            <dt>
              <Mark issues={[issue]} />
              {issue.key ?? 'record'}
            </dt>
            <Said issue={issue} />
          </div>
        ))}
      </dl>
    )
  }
  return (
    <ul className="chips">
      {record.map(({ key, raw }, i) => {
        const own = issues.filter((issue) => issue.key === key)
        return (
          <li key={i} title={[`${key} – ${meaning(key, raw)}`, ...own.map(sentence)].join('\n')} className={severity(own) ?? (key === 'bs' ? 'loud' : undefined)}>
            <Mark issues={own} />
            <b>{key}</b>
            {raw !== '' && <>={short(raw)}</>}
          </li>
        )
      })}
      {elsewhere.map((issue, i) => (
        <li key={`issue ${i}`} title={sentence(issue)} className={issue.severity}>
          <Mark issues={[issue]} />
          <b>{issue.key ?? 'record'}</b> {issue.rule.replaceAll('_', ' ')}
        </li>
      ))}
    </ul>
  )
}

/** Mark has a shape of its own for each severity, so that it does not speak by colour alone. */
function Mark({ issues }: { issues: readonly Issue[] }) {
  const worst = severity(issues)
  if (!worst) return null
  return (
    <span role="img" aria-label={worst === 'error' ? 'violation' : 'warning'} className="mark">
      {worst === 'error' ? '✕' : '!'}
    </span>
  )
}

function Said({ issue }: { issue: Issue }) {
  return (
    <dd className={`said ${issue.severity}`}>
      {issue.message}
      {issue.section && <small> {issue.section}</small>}
    </dd>
  )
}

function isError(issue: Issue): boolean {
  return issue.severity === 'error'
}

function severity(issues: readonly Issue[]): Issue['severity'] | undefined {
  return issues.some(isError) ? 'error' : issues[0]?.severity
}

function sentence(issue: Issue): string {
  return `${issue.severity === 'error' ? '✕' : '!'} ${issue.message}${issue.section ? ` (${issue.section})` : ''}`
}

function counted(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`
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
    const issues = sent.issues?.map((issue) => `${issue.rule} ${issue.message}`) ?? []
    text = [sent.object, sent.method, sent.status, sent.cacheStatus, sent.outcome, ...keys, ...issues].join(' ').toLowerCase()
    texts.set(sent, text)
  }
  return text
}
