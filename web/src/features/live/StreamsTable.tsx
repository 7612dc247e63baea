import { Table } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { addresses, addressOf } from '../../api/addresses'
import type { StreamInfo } from '../../api/client'
import { useNow } from '../../feed/FeedContext'
import { Defined } from '../../ui/Defined'
import { Empty } from '../../ui/Empty'
import { Failure } from '../../ui/Failure'
import { Sign, type Tone } from '../../ui/Sign'
import { count, dateTime, nothing } from '../../ui/format'
import { streams } from './api'

const states: Record<string, { tone: Tone; mark: string; text: string; means: string }> = {
  starting: { tone: 'fair', mark: '◔', text: 'Starting', means: 'A publisher is connected; the stream waits for its first keyframe.' },
  running: { tone: 'good', mark: '●', text: 'Running', means: 'The publisher sends and viewers can watch.' },
  interrupted: { tone: 'bad', mark: '▲', text: 'Interrupted', means: 'The publisher has gone away; the stream runs on if it returns in time.' },
  ended: { tone: 'quiet', mark: '■', text: 'Ended', means: 'The publisher has gone away and did not return.' },
}

export function StreamsTable() {
  const { data, error, refetch } = useQuery(streams)
  const { data: where } = useQuery(addresses)
  const { live } = useNow()
  return (
    <section aria-labelledby="streams">
      <div className="heading">
        <h2 id="streams">Streams</h2>
      </div>
      {error && !data && <Failure what="The streams" error={error} retry={() => void refetch()} />}
      {data?.length === 0 && where && (
        <Empty
          title="Nothing is published."
          command={`ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine \\
  -c:v libx264 -preset veryfast -tune zerolatency -g 60 -pix_fmt yuv420p \\
  -c:a aac -f flv ${addressOf(where.rtmp, 'test')}`}
        >
          Point an encoder at the RTMP address, start the server with <code>--test-channel</code>, or publish a test picture:
        </Empty>
      )}
      {data && data.length > 0 && (
        <div className="sheet">
          <Table verticalSpacing="xs" highlightOnHover>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Stream</Table.Th>
                <Table.Th>State</Table.Th>
                <Table.Th>Video</Table.Th>
                <Table.Th>Audio</Table.Th>
                <Table.Th>Publisher</Table.Th>
                <Table.Th>Since</Table.Th>
                <Table.Th className="right">
                  <Defined definition="Playback sessions of this stream with a record just now. Viewers without CMCD are not counted.">Viewers</Defined>
                </Table.Th>
                <Table.Th>
                  <span className="visually-hidden">Watch page</span>
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {data.map((stream) => (
                <Table.Tr key={stream.name}>
                  <Table.Th scope="row">{stream.name}</Table.Th>
                  <Table.Td>
                    <State state={stream.state} />
                  </Table.Td>
                  <Table.Td>{video(stream)}</Table.Td>
                  <Table.Td>{audio(stream)}</Table.Td>
                  <Table.Td>
                    {stream.protocol.toUpperCase()} <span className="quiet">{stream.publisher}</span>
                  </Table.Td>
                  <Table.Td>{dateTime(stream.since)}</Table.Td>
                  <Table.Td className="right">{live ? count(live.viewers_by_stream[stream.name] ?? 0) : nothing}</Table.Td>
                  <Table.Td className="right">
                    {where && (
                      <a href={addressOf(where.watch, stream.name)} target="_blank" rel="noopener" aria-label={`Watch ${stream.name}`}>
                        Watch ↗
                      </a>
                    )}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </div>
      )}
    </section>
  )
}

function State({ state }: { state: string }) {
  const known = states[state]
  if (!known) return <>{state}</>
  return (
    <Defined definition={known.means}>
      <Sign tone={known.tone} mark={known.mark}>
        {known.text}
      </Sign>
    </Defined>
  )
}

function video({ tracks }: StreamInfo) {
  const track = tracks.find((t) => t.width)
  if (!track) return nothing
  const fps = track.frame_rate ? `, ${Number(track.frame_rate.toFixed(2))} fps` : ''
  return <span title={track.codec_string}>{`${codecName(track.codec)} ${track.width} × ${track.height}${fps}`}</span>
}

function audio({ tracks }: StreamInfo) {
  const track = tracks.find((t) => t.sample_rate)
  if (!track) return nothing
  const channels = track.channels === 1 ? 'mono' : track.channels === 2 ? 'stereo' : `${track.channels} channels`
  return <span title={track.codec_string}>{`${codecName(track.codec)} ${(track.sample_rate ?? 0) / 1000} kHz, ${channels}`}</span>
}

const codecNames: Record<string, string> = { h264: 'H.264', h265: 'H.265', av1: 'AV1', aac: 'AAC', opus: 'Opus', mp3: 'MP3' }
const codecName = (codec: string) => codecNames[codec.toLowerCase()] ?? codec.toUpperCase()
