import { Table } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import type { Session } from '../../api/client'
import { Defined } from '../../ui/Defined'
import { Sign } from '../../ui/Sign'
import { bitrate, clock, count, dateTime, nothing, percent, seconds } from '../../ui/format'
import { definitions } from './definitions'
import { formatName } from './names'

/** SessionsTable is a list of sessions, one on a line, each leading to its page. */
export function SessionsTable({ sessions, brief }: { sessions: Session[]; brief?: boolean }) {
  return (
    <div className="sheet">
      <Table verticalSpacing="xs" highlightOnHover>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Session</Table.Th>
            <Table.Th>Stream</Table.Th>
            <Table.Th>Player</Table.Th>
            <Table.Th>Started</Table.Th>
            <Head name="Played" definition={definitions.played} />
            <Head name="Average bitrate" definition={definitions.bitrate} />
            <Head name="Startup" definition={definitions.startup} />
            <Head name="Rebuffers" definition={definitions.rebuffers} />
            {!brief && <Head name="Hit ratio" definition={definitions.hits} />}
            {!brief && <Head name="Requests" definition={definitions.requests} />}
            {!brief && <Head name="Errors" definition={definitions.errors} />}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {sessions.map((s) => (
            <Table.Tr key={s.id}>
              <Table.Th scope="row">
                <Link to="/sessions/$sid" params={{ sid: s.id }} className="sid" title={s.id}>
                  {s.id.slice(0, 8)}
                </Link>{' '}
                {s.active && (
                  <Sign tone="good" mark="●">
                    watching
                  </Sign>
                )}
              </Table.Th>
              <Table.Td>{s.stream || nothing}</Table.Td>
              <Table.Td>
                {s.player || 'unknown'} <span className="quiet">{formatName(s.format)}</span>
              </Table.Td>
              <Table.Td>{dateTime(s.start)}</Table.Td>
              <Table.Td className="right">{clock(s.played_time_seconds)}</Table.Td>
              <Table.Td className="right">{s.average_bitrate > 0 ? bitrate(s.average_bitrate) : nothing}</Table.Td>
              <Table.Td className="right">{seconds(s.startup_time_seconds)}</Table.Td>
              <Table.Td className="right">
                {s.rebuffers.length === 0 ? '0' : `${s.rebuffers.length} · ${seconds(s.rebuffer_time_seconds)}`}
              </Table.Td>
              {!brief && <Table.Td className="right">{percent(s.hit_ratio)}</Table.Td>}
              {!brief && <Table.Td className="right">{count(s.requests)}</Table.Td>}
              {!brief && (
                <Table.Td className="right">
                  {s.errors > 0 ? (
                    <Sign tone="bad" mark="✕">
                      {count(s.errors)}
                    </Sign>
                  ) : (
                    '0'
                  )}
                </Table.Td>
              )}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  )
}

function Head({ name, definition }: { name: string; definition: string }) {
  return (
    <Table.Th className="right">
      <Defined definition={definition}>{name}</Defined>
    </Table.Th>
  )
}
