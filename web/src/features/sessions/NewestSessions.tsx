import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { addresses, addressOf } from '../../api/addresses'
import { Empty } from '../../ui/Empty'
import { Failure } from '../../ui/Failure'
import { sessionList } from './api'
import { SessionsTable } from './SessionsTable'

export function NewestSessions() {
  const { data, error, refetch } = useQuery(sessionList({}, 8))
  return (
    <section aria-labelledby="newest">
      <div className="heading">
        <h2 id="newest">Newest sessions</h2>
        <Link to="/sessions">All sessions</Link>
      </div>
      {error && !data && <Failure what="The sessions" error={error} retry={() => void refetch()} />}
      {data?.sessions.length === 0 && <NoSessions />}
      {data && data.sessions.length > 0 && <SessionsTable sessions={data.sessions} brief />}
    </section>
  )
}

/** NoSessions is the empty state of every list of sessions. */
export function NoSessions() {
  const { data: where } = useQuery(addresses)
  const page = where && addressOf(where.watch, 'test')
  return (
    <Empty title="Nobody has watched yet.">
      Open the watch page{page && <>: <a href={page}>{page}</a></>}. Its session is here within seconds.
    </Empty>
  )
}
