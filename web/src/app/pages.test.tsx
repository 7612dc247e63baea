import { MantineProvider } from '@mantine/core'
import { QueryClientProvider } from '@tanstack/react-query'
import { createMemoryHistory, RouterProvider } from '@tanstack/react-router'
import { act, render, screen, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { Exchange, Live, Session, SessionDetails, StreamInfo } from '../api/client'
import { Feed } from '../feed/feed'
import { FeedProvider } from '../feed/FeedContext'
import { FakeSocket, network } from '../test/network'
import { newQueryClient } from './queryClient'
import { newRouter } from './router'
import { theme } from './theme'

const live: Live = {
  time: '2026-11-20T10:00:00Z', window_seconds: 10, viewers: 38, viewers_by_stream: { test: 31 }, requests_per_second: 57.24,
  egress: 52.3e6, hit_ratio: 0.965, error_ratio: 0, average_bitrate: null, rebuffering: 1, ttfb_p50_seconds: 0.0008,
  ttfb_p95_seconds: 0.0213, dropped_records: 0,
}

const session: Session = {
  id: '6376e0e8-416e-46ea-99d9-077312333d9e', stream: 'test', player: 'hls.js', format: 'hls', live: true, cmcd_version: 1, client: '192.0.2.7',
  edge: 'edge-1', start: '2026-11-20T09:59:00Z', end: '2026-11-20T10:00:00Z', active: false, requests: 2, reports: 0, bytes: 334_591, errors: 1,
  hit_ratio: 0.5, played_time_seconds: 57.3, average_bitrate: 1_298_234, average_throughput: 46e6, startup_time_seconds: 0.612, startup_estimated: true,
  rebuffers: [{ time: '2026-11-20T09:59:30Z', duration_seconds: 3.9, evidence: 'drain' }], rebuffer_time_seconds: 3.9, rebuffer_ratio: 0.064,
}

const exchange = (n: number, more: Partial<Exchange>): Exchange => ({
  id: `e${n}`, time: `2026-11-20T09:59:0${n}Z`, path: `/live/test/video-1-${n}.m4s`, kind: 'segment', status: 200, bytes: 310_591,
  cache_status: 'hit', ttfb_seconds: 0.0008, duration_seconds: 0.0021, object_type: 'v', bitrate: 1_298_234, ...more,
})

const details: SessionDetails = {
  session,
  exchanges: [
    exchange(1, { cache_status: 'miss', miss_reason: 'cold', origin_ttfb_seconds: 0.029, cmcd: { mtp: '5200', bs: 'true', sid: '"6376e0e8"' } }),
    exchange(2, { status: 404, bytes: 24_000 }),
  ],
  reports: [],
  truncated: false,
}

const stream: StreamInfo = {
  name: 'test', state: 'running', protocol: 'rtmp', publisher: '127.0.0.1:40312', since: '2026-11-20T09:00:00Z', units: 1, bytes: 1, readers: [],
  tracks: [
    { id: 1, codec: 'h264', codec_string: 'avc1.64001f', width: 1280, height: 720, frame_rate: 30 },
    { id: 2, codec: 'aac', codec_string: 'mp4a.40.2', sample_rate: 48_000, channels: 2 },
  ],
}

const where = {
  watch: 'http://weir.example:9000/watch/{stream}', hls: '', dash: '', rtmp: 'rtmp://weir.example/live/{stream}', mcp: '',
}

const catalogue = { dimensions: [], metrics: [{ name: 'viewers', unit: '1', definition: 'Sessions that were sent media.' }] }

beforeEach(() => {
  FakeSocket.made = []
})

function open(path: string) {
  const feed = new Feed('ws://x/api/v1/feed', (url) => new FakeSocket(url) as unknown as WebSocket)
  const router = newRouter(createMemoryHistory({ initialEntries: [path] }))
  const view = render(
    <MantineProvider theme={theme} env="test">
      <QueryClientProvider client={newQueryClient()}>
        <FeedProvider feed={feed}>
          <RouterProvider router={router} />
        </FeedProvider>
      </QueryClientProvider>
    </MantineProvider>,
  )
  return { ...view, router }
}

describe('the page Now', () => {
  it('shows the live numbers, the streams and the newest sessions', async () => {
    const { asked } = network({
      '/api/v1/metrics': catalogue,
      '/api/v1/metrics/viewers': { rows: [{ time: '2026-11-20T09:58:00Z', metrics: { viewers: 12 }, sessions: 12, records: 40 }] },
      '/api/v1/streams': { streams: [stream] },
      '/api/v1/sessions': { sessions: [session] },
      '/api/v1/addresses': where,
    })
    open('/')
    const cards = await screen.findByRole('region', { name: 'Now' })
    expect(screen.getByText('Connecting')).toBeDefined()
    act(() => FakeSocket.made[0]?.say('metrics:update', live))
    await within(cards).findByText('38')
    expect(screen.getByText('Live')).toBeDefined()
    for (const number of ['57.2 /s', '52.3 Mbit/s', '96.5 %', '0 %', '21 ms', '1 session', '–']) expect(within(cards).getByText(number)).toBeDefined()

    // The past comes from the API, and the words for it stand in for the picture.
    await within(cards).findByRole('img', { name: 'Viewers over five minutes: now 38, lowest 12, highest 38' })
    expect(asked.find((url) => url.pathname === '/api/v1/metrics/viewers')?.searchParams.get('grain')).toBe('10s')
    await vi.waitFor(() => expect(within(cards).getByText('Viewers').getAttribute('aria-description')).toBe('Sessions that were sent media. Here: over the last 10 s.'))

    const row = within(screen.getByRole('region', { name: 'Streams' })).getAllByRole('row')[1]!
    expect(row.textContent).toContain('H.264 1280 × 720, 30 fps')
    expect(row.textContent).toContain('AAC 48 kHz, stereo')
    expect(row.textContent).toContain('31')
    expect(within(row).getByRole('link').getAttribute('href')).toBe('http://weir.example:9000/watch/test')
    expect(screen.getByRole('link', { name: '6376e0e8' }).getAttribute('href')).toBe(`/sessions/${session.id}`)
  })

  it('says what fills it when there is nothing', async () => {
    network({ '/api/v1/streams': { streams: [] }, '/api/v1/sessions': { sessions: [] }, '/api/v1/addresses': where })
    open('/')
    expect((await screen.findByText(/ffmpeg -re/)).textContent).toContain('rtmp://weir.example/live/test')
    await screen.findByText('Nobody has watched yet.')
    expect(await screen.findByRole('link', { name: 'http://weir.example:9000/watch/test' })).toBeDefined()
  })

  it('says that a part could not be loaded, in the words of the server', async () => {
    network({ '/api/v1/streams': { status: 400, body: { status: 400, detail: 'the store is closed' } }, '/api/v1/sessions': { sessions: [] } })
    open('/')
    expect((await screen.findByRole('alert')).textContent).toContain('the store is closed')
  })
})

describe('the page of sessions', () => {
  it('keeps search and page in the address', async () => {
    const { asked } = network({ '/api/v1/sessions': { sessions: [session], next_cursor: 'older-than-this' } })
    const { router } = open('/sessions?stream=test')
    await screen.findByRole('link', { name: '6376e0e8' })
    expect(screen.getByLabelText('Stream')).toHaveProperty('value', 'test')
    await userEvent.type(screen.getByLabelText('Session ID begins with'), '6376')
    await vi.waitFor(() => expect(router.state.location.search).toMatchObject({ prefix: '6376', stream: 'test' }))
    await userEvent.click(screen.getByRole('button', { name: 'Older' }))
    await vi.waitFor(() => expect(Object.fromEntries(asked.at(-1)?.searchParams ?? [])).toEqual({ prefix: '6376', stream: 'test', cursor: 'older-than-this', limit: '50' }))
    await userEvent.click(screen.getByRole('button', { name: 'Newest' }))
    await vi.waitFor(() => expect(router.state.location.search.cursor).toBeUndefined())
  })
})

describe('the page of a session', () => {
  it('tells the facts and every request', async () => {
    network({ [`/api/v1/sessions/${session.id}`]: details })
    open(`/sessions/${session.id}`)
    await screen.findByRole('heading', { level: 1, name: `Session ${session.id}` })
    const fact = (name: string) => screen.getAllByText(name).find((e) => e.closest('dt'))?.closest('div')?.textContent
    expect(fact('Average bitrate')).toBe('Average bitrate1.30 Mbit/s')
    expect(fact('Startup')).toBe('Startup612 msestimated')
    expect(fact('Rebuffers')).toBe('Rebuffers1 in 3.9 sratio 6.40 %')
    expect(screen.getByText(/more time had passed than media was delivered/)).toBeDefined()

    const table = screen.getByRole('table', { name: 'Requests' })
    const texts = () => within(table).getAllByRole('row').slice(1).map((r) => r.textContent)
    await vi.waitFor(() => expect(texts()[0]).toContain('✕ 404'))
    expect(texts()[1]).toContain('○ miss, cold311 kB0.8 ms2.1 ms29 ms1.30 Mbit/s')

    await userEvent.click(within(table).getByRole('button', { name: /video-1-1/ }))
    expect(within(table).getByText('mtp=5200').nextSibling?.textContent).toBe('measured throughput, kbit/s')
    expect(within(table).getByText('bs')).toBeDefined()

    await userEvent.click(within(table).getByRole('button', { name: 'Bytes' }))
    expect(texts()[0]).toContain('311 kB')
    await userEvent.click(within(table).getByRole('button', { name: /Bytes/ }))
    expect(texts()[0]).toContain('24.0 kB')

    await userEvent.type(screen.getByLabelText('Filter the requests'), 'mtp=5200')
    expect(texts()).toHaveLength(1)
  })

  it('tells in the open row how the edge answered, and why it refused', async () => {
    const fetched = exchange(1, {
      cache_status: 'miss', miss_reason: 'purged', origin: 'origin-1', origin_address: '192.0.2.80:443', origin_status: 200, queued_seconds: 0.04,
      tcp: { rtt_seconds: 0.023, min_rtt_seconds: 0.021, sent_bytes: 312_000, retransmitted_bytes: 3120, unsent_bytes: 0, busy_seconds: 0.31, rwnd_limited_seconds: 0, sndbuf_limited_seconds: 0 },
    })
    const refused = exchange(2, { status: 403, cache_status: 'bypass', refusal: 'token-expired', tenant: 'acme' })
    network({ [`/api/v1/sessions/${session.id}`]: { ...details, exchanges: [fetched, refused] } })
    open(`/sessions/${session.id}`)
    const table = await screen.findByRole('table', { name: 'Requests' })
    await vi.waitFor(() => expect(within(table).getAllByRole('row')[1]?.textContent).toContain('✕ 403⊘ refused'))
    expect(within(table).queryByText('Refused')).toBeNull()
    const fact = (name: string) => within(table).getByText(name).closest('div')?.textContent

    await userEvent.click(within(table).getByRole('button', { name: /video-1-2/ }))
    expect(fact('Refused')).toBe('Refusedtoken-expired')
    expect(fact('Tenant')).toBe('Tenantacme')
    expect(within(table).queryByText('Round trip')).toBeNull()

    await userEvent.click(within(table).getByRole('button', { name: /video-1-1/ }))
    expect(fact('Why no hit')).toBe('Why no hitpurgedit had been purged')
    expect(fact('Origin')).toBe('Originorigin-1192.0.2.80:443')
    expect(fact('Queued')).toBe('Queued40 ms')
    expect(fact('Round trip')).toBe('Round trip23 msshortest 21 ms')
    expect(fact('Sent again')).toBe('Sent again3.12 kB1.00 % of 312 kB')

    await userEvent.type(screen.getByLabelText('Filter the requests'), 'token-expired')
    expect(within(table).getAllByRole('row')).toHaveLength(2)
  })

  it('puts the player’s view beside the edge’s, and says what it does not believe', async () => {
    const reporting: Session = {
      ...session, cmcd_version: 2, reports: 9, player_evidence: 'key_set', clock_offset_seconds: -90.43, lost_reports: 2, unseen_requests: 5,
      distrusted: [
        { key: 'br', verdict: 'ignore', why: 'It is the variant’s.' }, { key: 'br', verdict: 'ignore', why: 'It is left over.' },
        { key: 'mtp', verdict: 'ignore_first', why: 'It is a default.' },
      ],
    }
    const seen = { time: '2026-11-20T09:59:01Z', status: 200, ttfb_seconds: 0.12, ttlb_seconds: 1.24 }
    network({ [`/api/v1/sessions/${session.id}`]: { ...details, session: reporting, exchanges: [exchange(1, { response: seen }), exchange(2, {})] } })
    open(`/sessions/${session.id}`)
    const fact = (name: string) => screen.getAllByText(name).find((e) => e.closest('dt'))?.closest('div')
    await screen.findByText('Clock offset')
    expect(fact('Clock offset')?.textContent).toBe('Clock offset1:30 minplayer is ahead')
    expect(fact('Lost reports')?.textContent).toContain('2')
    expect(fact('Unseen requests')?.textContent).toContain('5')
    expect(screen.getByText('Player').getAttribute('aria-description')).toBe('Who played. Told by which CMCD keys it sends together.')
    expect(fact('Not believed')?.textContent).toBe('Not believedbr, mtp')
    expect(screen.getByText('br').getAttribute('aria-description')).toBe('It is the variant’s. Ignored. It is left over. Ignored.')

    const table = screen.getByRole('table', { name: 'Requests' })
    await userEvent.click(within(table).getByRole('button', { name: /At player/ }))
    await vi.waitFor(() => expect(within(table).getAllByRole('row')[1]?.textContent).toContain('2.1 ms1.2 s'))
    await userEvent.click(within(table).getByRole('button', { name: /video-1-1/ }))
    expect(within(table).getByRole('list', { name: 'As the player saw it' }).textContent).toContain('TTLB player 1.2 s · edge 2.1 ms: 1.2 s in the network and in the player')
  })

  it('shows reports at the time they happened, and the player’s clock beside it', async () => {
    const at = (s: number) => new Date(Date.parse('2026-11-20T09:59:00Z') + s * 1000)
    const word = (t: Date) => `${t.toLocaleTimeString('en-GB', { hour12: false })}.000`
    const report = (s: number, event: string, ts: number | undefined, more: Record<string, string> = {}, state = '') =>
      ({ time: at(s).toISOString(), event, state, cmcd: { ...(ts === undefined ? {} : { ts: String(ts) }), ...more } })
    const ahead = (s: number) => at(s).getTime() + 3_600_000
    const reporting: Session = { ...session, cmcd_version: undefined, reports: 4, lost_reports: 0, clock_offset_seconds: -3599.9994 }
    const reports = [
      report(1, 'ps', ahead(1), {}, 's'),
      report(3, 'rr', ahead(2), { url: '"/live/test/video-1-1.m4s"' }),
      report(4, 't', 5000),
      report(5, 't', undefined),
    ]
    network({ [`/api/v1/sessions/${session.id}`]: { ...details, session: reporting, reports } })
    open(`/sessions/${session.id}`)
    const region = await screen.findByRole('region', { name: 'Reports of the player' })
    const shown = [...region.querySelectorAll('summary')].map((row) => [row.querySelector('time')?.textContent, row.querySelector('time')?.title])
    expect(shown).toEqual([
      [word(at(5)), ''],
      [word(at(4)), expect.stringMatching(/^Player’s clock: 1 Jan 1970, /)],
      [word(at(3)), `Received then. Asked for at ${word(new Date(ahead(2)))} by the player’s clock.`],
      [word(at(1)), `Player’s clock: ${word(new Date(ahead(1)))}`],
    ])
    const fact = (name: string) => screen.getAllByText(name).find((e) => e.closest('dt'))?.closest('div')?.textContent
    expect(fact('Lost reports')).toBe('Lost reports0')
    expect(fact('Unseen requests')).toBe('Unseen requests–')
    expect(fact('CMCD')).toBe('CMCDnone')
    expect(fact('Clock offset')).toBe('Clock offset1:00:00 hplayer is ahead')
  })

  it('writes the offset of a clock that was never set in days', async () => {
    network({ [`/api/v1/sessions/${session.id}`]: { ...details, session: { ...session, clock_offset_seconds: 1_795_185_650 } } })
    open(`/sessions/${session.id}`)
    const name = await screen.findByText('Clock offset')
    expect(name.closest('div')?.textContent).toBe('Clock offset20,778 daysplayer is behind')
  })

  it('says so when there is no record of it', async () => {
    network({})
    open('/sessions/unheard-of')
    await screen.findByText('There is no record of this session.')
  })
})
