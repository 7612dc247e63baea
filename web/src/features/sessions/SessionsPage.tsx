import { Button, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { Empty } from '../../ui/Empty'
import { Failure } from '../../ui/Failure'
import { sessionList, type SessionSearch } from './api'
import { NoSessions } from './NewestSessions'
import { SessionsTable } from './SessionsTable'

const pageSize = 50
const typing = 300

/** SessionsPage lists sessions; what it shows is in its address, which search and change hold. */
export function SessionsPage({ search, change }: { search: SessionSearch; change: (to: SessionSearch) => void }) {
  const { data, error, refetch, isPlaceholderData } = useQuery(sessionList(search, pageSize))
  const filtered = Boolean(search.prefix || search.stream)
  return (
    <>
      <div className="heading">
        <h1>Sessions</h1>
      </div>
      <div className="filters">
        <Filter label="Session ID begins with" value={search.prefix} change={(prefix) => change({ ...search, prefix, cursor: undefined })} />
        <Filter label="Stream" value={search.stream} change={(stream) => change({ ...search, stream, cursor: undefined })} />
      </div>
      {error && !data && <Failure what="The sessions" error={error} retry={() => void refetch()} />}
      {data?.sessions.length === 0 &&
        (filtered || search.cursor ? (
          <Empty title={filtered ? 'No session fits.' : 'There are no older sessions.'}>
            <Button size="xs" variant="default" onClick={() => change({})}>
              Show all sessions
            </Button>
          </Empty>
        ) : (
          <NoSessions />
        ))}
      {data && data.sessions.length > 0 && (
        <div style={{ opacity: isPlaceholderData ? 0.6 : 1 }}>
          <SessionsTable sessions={data.sessions} />
        </div>
      )}
      <nav className="paging" aria-label="Pages">
        {search.cursor && (
          <Button variant="default" onClick={() => change({ ...search, cursor: undefined })}>
            Newest
          </Button>
        )}
        {data?.next_cursor && (
          <Button variant="default" onClick={() => change({ ...search, cursor: data.next_cursor })}>
            Older
          </Button>
        )}
      </nav>
    </>
  )
}

/** Filter asks when the typing has stopped. */
function Filter({ label, value = '', change }: { label: string; value?: string; change: (value: string | undefined) => void }) {
  const [text, setText] = useState(value)
  const [known, setKnown] = useState(value)
  // The address was changed by other means, such as the back button.
  if (value !== known) {
    setKnown(value)
    setText(value)
  }
  useEffect(() => {
    const wanted = text.trim()
    if (wanted === value) return
    const timer = setTimeout(() => {
      setKnown(wanted)
      change(wanted || undefined)
    }, typing)
    return () => clearTimeout(timer)
  }, [text, value, change])
  return <TextInput label={label} value={text} onChange={(event) => setText(event.currentTarget.value)} autoComplete="off" spellCheck={false} />
}
