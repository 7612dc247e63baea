import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { Fragment, useMemo } from 'react'
import { ProblemError, type Distrust, type Session } from '../../api/client'
import { Chart } from '../../ui/Chart'
import { CopyButton } from '../../ui/CopyButton'
import { Defined } from '../../ui/Defined'
import { Empty } from '../../ui/Empty'
import { Facts, type Fact } from '../../ui/Facts'
import { Failure } from '../../ui/Failure'
import { Sign } from '../../ui/Sign'
import { bitrate, bytes, clock, count, dateTime, nothing, percent, seconds, time } from '../../ui/format'
import { sessionDetails } from './api'
import { definitions, evidence, playerEvidence, verdicts } from './definitions'
import { formatName } from './names'
import { ReportsTable } from './ReportsTable'
import { RequestTable } from './RequestTable'
import { timelineOf } from './timeline'

/** SessionPage tells what happened to one session, request by request. */
export function SessionPage({ sid }: { sid: string }) {
  const { data, error, refetch } = useQuery(sessionDetails(sid))
  if (!data) {
    if (error instanceof ProblemError && error.status === 404) {
      return (
        <Empty title="There is no record of this session.">
          Its first record takes a few seconds to arrive; this page looks again by itself. <Link to="/sessions">All sessions</Link>
        </Empty>
      )
    }
    if (error) return <Failure what="The session" error={error} retry={() => void refetch()} />
    return <p className="quiet">Loading…</p>
  }
  const { session, exchanges, reports, truncated } = data
  return (
    <>
      <div className="heading">
        <h1>
          Session <span className="sid">{session.id}</span>
        </h1>
        <CopyButton text={session.id} label="session ID" />
        {session.active ? (
          <Sign tone="good" mark="●">
            watching
          </Sign>
        ) : (
          <Sign tone="quiet" mark="■">
            ended
          </Sign>
        )}
      </div>
      <Facts facts={factsOf(session)} />
      <Rebuffers session={session} />
      <Timeline exchanges={exchanges} session={session} />
      <section aria-labelledby="requests">
        <div className="heading">
          <h2 id="requests">Requests</h2>
          {truncated && <p className="asof">The session has more records than are shown.</p>}
        </div>
        <RequestTable exchanges={exchanges} />
      </section>
      {reports.length > 0 && (
        <section aria-labelledby="reports">
          <div className="heading">
            <h2 id="reports">Reports of the player</h2>
          </div>
          <ReportsTable reports={reports} />
        </section>
      )}
    </>
  )
}

function factsOf(s: Session): Fact[] {
  const stalled = s.rebuffers.length > 0
  return [
    { name: 'Stream', definition: definitions.stream, value: s.stream || nothing, note: s.live ? 'live' : undefined },
    { name: 'Player', definition: `${definitions.player} ${playerEvidence[s.player_evidence ?? ''] ?? ''}`.trim(), value: s.player || 'unknown', note: formatName(s.format) },
    { name: 'CMCD', definition: definitions.cmcd, value: s.cmcd_version ? `version ${s.cmcd_version}` : 'none' },
    { name: 'Average bitrate', definition: definitions.bitrate, value: s.average_bitrate > 0 ? bitrate(s.average_bitrate) : nothing },
    { name: 'Throughput', definition: definitions.throughput, value: s.average_throughput > 0 ? bitrate(s.average_throughput) : nothing },
    { name: 'Played', definition: definitions.played, value: clock(s.played_time_seconds) },
    { name: 'Startup', definition: definitions.startup, value: seconds(s.startup_time_seconds), note: s.startup_time_seconds !== undefined && s.startup_estimated ? 'estimated' : undefined },
    { name: 'Rebuffers', definition: definitions.rebuffers, value: stalled ? `${s.rebuffers.length} in ${seconds(s.rebuffer_time_seconds)}` : 'none', note: stalled ? `ratio ${percent(s.rebuffer_ratio)}` : undefined },
    { name: 'Hit ratio', definition: definitions.hits, value: percent(s.hit_ratio) },
    { name: 'Requests', definition: definitions.requests, value: count(s.requests) },
    { name: 'Reports', definition: definitions.reports, value: count(s.reports) },
    { name: 'Unseen requests', definition: definitions.unseen, value: missing(s.unseen_requests) },
    { name: 'Lost reports', definition: definitions.lost, value: missing(s.lost_reports) },
    { name: 'Clock offset', definition: definitions.clock, ...clockOffset(s.clock_offset_seconds) },
    { name: 'Not believed', definition: definitions.distrusted, value: <Distrusted list={s.distrusted ?? []} /> },
    { name: 'Bytes', definition: definitions.bytes, value: bytes(s.bytes) },
    {
      name: 'Errors',
      definition: definitions.errors,
      value:
        s.errors > 0 ? (
          <Sign tone="bad" mark="✕">
            {count(s.errors)}
          </Sign>
        ) : (
          '0'
        ),
    },
    { name: 'Started', definition: definitions.started, value: dateTime(s.start) },
    { name: 'Last seen', definition: definitions.seen, value: dateTime(s.end) },
    { name: 'Client', definition: definitions.client, value: <span title={s.user_agent}>{s.client || nothing}</span>, note: s.edge ? `at ${s.edge}` : undefined },
  ]
}

const day = 24 * 60 * 60

function clockOffset(offset: number | undefined): Pick<Fact, 'value' | 'note'> {
  if (offset === undefined) return { value: nothing }
  // What is less may all be the way of the report.
  const apart = Math.abs(offset) >= 0.1
  const size = Math.abs(offset)
  return { value: size < 2 * day ? seconds(size < 60 ? size : Math.round(size)) : `${count(size / day)} days`, note: apart ? `player is ${offset > 0 ? 'behind' : 'ahead'}` : undefined }
}

/** missing is a count of what the player numbered; it is not known where nothing is numbered. */
function missing(n: number | undefined) {
  if (n === undefined) return nothing
  if (n === 0) return '0'
  return (
    <Sign tone="fair" mark="○">
      {count(n)}
    </Sign>
  )
}

/** Distrusted names each key once; its reasons are on hover, on focus and on touch. */
function Distrusted({ list }: { list: Distrust[] }) {
  if (list.length === 0) return <>{nothing}</>
  const keys = [...new Set(list.map((d) => d.key))]
  return (
    <>
      {keys.map((key, i) => (
        <Fragment key={key}>
          {i > 0 && ', '}
          <Defined definition={list.filter((d) => d.key === key).map((d) => `${d.why} ${verdicts[d.verdict] ?? ''}`.trim()).join(' ')}>{key}</Defined>
        </Fragment>
      ))}
    </>
  )
}

function Rebuffers({ session }: { session: Session }) {
  if (session.rebuffers.length === 0) return null
  return (
    <section aria-labelledby="rebuffers">
      <div className="heading">
        <h2 id="rebuffers">Rebuffers</h2>
      </div>
      <ul className="rebuffers">
        {session.rebuffers.map((r) => (
          <li key={r.time}>
            <Sign tone="bad" mark="▮▮">
              {time(r.time, true)}
            </Sign>{' '}
            for <b>{seconds(r.duration_seconds)}</b>: {evidence[r.evidence] ?? r.evidence}
          </li>
        ))}
      </ul>
    </section>
  )
}

function Timeline({ exchanges, session }: { exchanges: Parameters<typeof timelineOf>[0]; session: Session }) {
  const timeline = useMemo(() => timelineOf(exchanges, session.rebuffers), [exchanges, session.rebuffers])
  const buffer = useMemo(
    () => [{ label: 'Buffer length', values: timeline.buffer, format: seconds, color: '--chart-1', fill: true }],
    [timeline],
  )
  const rates = useMemo(
    () => [
      { label: 'Bitrate', values: timeline.bitrate, format: bitrate, color: '--chart-1', step: true },
      { label: 'Throughput', values: timeline.throughput, format: bitrate, color: '--chart-2', dash: true },
    ],
    [timeline],
  )
  if (timeline.times.length < 2) return null
  return (
    <section className="charts" aria-labelledby="timeline">
      <div className="heading">
        <h2 id="timeline">Timeline</h2>
        <p className="asof">as the player told with its requests for media{timeline.stalls.length > 0 ? '; rebuffers are shaded' : ''}</p>
      </div>
      <div className="pair">
        <Chart label="Buffer length over time" times={timeline.times} series={buffer} spans={timeline.stalls} sync="session" />
        <Chart label="Bitrate and measured throughput over time, on a logarithmic scale" times={timeline.times} series={rates} spans={timeline.stalls} sync="session" log />
      </div>
    </section>
  )
}
