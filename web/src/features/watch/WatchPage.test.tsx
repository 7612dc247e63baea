import { render, screen, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { network } from '../../test/network'
import { parse } from '../../cmcd/parse'
import { RequestLog } from './requestLog'
import { WatchPage } from './WatchPage'

beforeEach(() => {
  ;(window as unknown as { happyDOM: { setURL(url: string): void } }).happyDOM.setURL('http://weir.example:8080/watch/sport/final?player=dash&cmcd=2')
})

const send = (log: RequestLog, object: string, record: string) =>
  log.add({ time: Date.now(), method: 'GET', url: `http://weir.example:8080/live/${object}`, object, via: 'query', records: [parse(record)], raw: { kind: 'query', text: `CMCD=${encodeURIComponent(record)}` } })

describe('the watch page', () => {
  it('says that it waits for a stream that nobody publishes', async () => {
    const { asked } = network({})
    render(<WatchPage log={new RequestLog()} />)
    expect(screen.getByRole('heading', { level: 1 }).textContent).toBe('sport/final')
    await screen.findByText(/Waiting for the stream/)
    expect(asked[0]?.pathname).toBe('/live/sport/final/index.m3u8')
    expect(asked[0]?.search).toBe('')
    expect(window.weirWatch).toMatchObject({ player: 'dash', cmcd: 2, state: 'waiting', errors: [], restarts: 0 })
    expect(screen.getByText(window.weirWatch!.sid)).toBeDefined()
    expect(screen.getByRole('link', { name: /index\.m3u8/ }).getAttribute('href')).toBe('http://weir.example:8080/live/sport/final/index.m3u8')
    expect(document.title).toBe('sport/final – Weir')
  })

  it('changes the address and begins a new session when another player is chosen', async () => {
    network({})
    render(<WatchPage log={new RequestLog()} />)
    await screen.findByText(/Waiting for the stream/)
    const before = window.weirWatch!.sid
    await userEvent.click(screen.getByRole('radio', { name: 'Shaka' }))
    expect(location.search).toBe('?player=shaka&cmcd=2')
    await vi.waitFor(() => expect(window.weirWatch).toMatchObject({ player: 'shaka' }))
    expect(window.weirWatch!.sid).not.toBe(before)
    expect(screen.getByRole('radio', { name: 'DASH' })).toHaveProperty('checked', true)
  })

  it('logs the keys as they are sent, filters them, and holds still while somebody reads', async () => {
    network({})
    const log = new RequestLog()
    render(<WatchPage log={log} />)
    const list = screen.getByRole('list', { name: 'Requests, newest first' })
    const id = send(log, 'video-1-7.m4s', 'bl=6100,mtp=5200,ot=v')
    send(log, 'audio-1-7.m4s', 'bl=5900,bs,ot=a')
    log.finish(id, { status: 200, cacheStatus: 'hit', bytes: 310_591, duration: 4.2 })
    await within(list).findByText('video-1-7.m4s')
    expect(within(list).getAllByRole('button').map((b) => b.textContent)[1]).toContain('200 hit311 kB4.2 ms')
    expect(within(list).getByTitle('mtp – measured throughput, kbit/s').textContent).toBe('mtp=5200')

    await userEvent.type(screen.getByRole('searchbox'), 'bs')
    await vi.waitFor(() => expect(within(list).queryByText('video-1-7.m4s')).toBeNull())
    await userEvent.clear(screen.getByRole('searchbox'))

    await userEvent.hover(list)
    send(log, 'video-1-8.m4s', 'bl=6000,ot=v')
    const pill = await screen.findByRole('button', { name: '1 new' })
    expect(within(list).queryByText('video-1-8.m4s')).toBeNull()
    await userEvent.click(pill)
    await within(list).findByText('video-1-8.m4s')

    await userEvent.click(screen.getByRole('button', { name: 'Clear' }))
    await screen.findByText(/Nothing sent yet/)
  })
})
