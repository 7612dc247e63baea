import { MetricCards } from '../features/live/MetricCards'
import { StreamsTable } from '../features/live/StreamsTable'
import { NewestSessions } from '../features/sessions/NewestSessions'

/** NowPage puts side by side what the features know of this moment. */
export function NowPage() {
  return (
    <>
      <MetricCards />
      <StreamsTable />
      <NewestSessions />
    </>
  )
}
