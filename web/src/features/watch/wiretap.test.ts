import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { maxEntries, RequestLog } from './requestLog'
import { tap } from './wiretap'

// A server of flesh and blood: the tap is on the platform's own XMLHttpRequest and fetch.
let server: Server
let origin: string
const bodies: string[] = []

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.method === 'POST') {
      let body = ''
      request.on('data', (chunk) => (body += String(chunk)))
      request.on('end', () => {
        bodies.push(body)
        response.writeHead(204).end()
      })
      return
    }
    if (request.url?.includes('missing')) response.writeHead(404, { 'Cache-Status': 'edge-1; fwd=uri-miss' }).end('no')
    else response.writeHead(200, { 'Cache-Status': 'edge-1; hit', 'Content-Length': '5' }).end('media')
  })
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  ;(window as unknown as { happyDOM: { setURL(url: string): void } }).happyDOM.setURL(`${origin}/watch/test`)
})

afterAll(() => new Promise((closed) => server.close(closed)))

let log: RequestLog
let untap: () => void

beforeEach(() => {
  log = new RequestLog()
  untap = tap(window, log)
})
afterEach(() => untap())

const query = `?CMCD=${encodeURIComponent('bl=6100,bs,cid="cam one",ot=v').replaceAll('%20', '+')}`

function xhr(url: string, prepare: (x: XMLHttpRequest) => void = () => undefined): Promise<XMLHttpRequest> {
  return new Promise((done) => {
    const x = new XMLHttpRequest()
    x.open('GET', url)
    prepare(x)
    x.onloadend = () => done(x)
    x.send()
  })
}

describe('the tap', () => {
  it('logs an XMLHttpRequest with CMCD in its query, and its answer', async () => {
    const x = await xhr(`/live/test/video-1-7.m4s${query}`)
    expect(x.responseText).toBe('media')
    await vi.waitFor(() => expect(log.all()[0]?.status).toBe(200))
    expect(log.all()).toMatchObject([
      {
        via: 'query',
        raw: { kind: 'query', text: query.slice(1) },
        object: 'video-1-7.m4s',
        keys: { bl: '6100', bs: '', cid: '"cam one"', ot: 'v' },
        values: { bl: 6100, bs: true, cid: 'cam one' },
        status: 200,
        cacheStatus: 'hit',
        bytes: 5,
      },
    ])
    expect(log.all()[0]?.duration).toBeGreaterThan(0)
  })

  it('keeps other arguments of the query to itself', async () => {
    await xhr(`/live/test/a.m4s?token=secret&${query.slice(1)}&CMCDX=1&CMCD=bs`)
    expect(log.all()[0]?.raw.text).toBe(`${query.slice(1)}&CMCD=bs`)
  })

  it('logs CMCD in headers, which win over the query', async () => {
    await xhr(`/live/test/a.m4s${query}`, (x) => {
      x.setRequestHeader('CMCD-Request', 'bl=100')
      x.setRequestHeader('CMCD-Session', 'sid="s"')
    })
    const raw = { kind: 'headers', text: 'CMCD-Request: bl=100\nCMCD-Session: sid="s"' }
    expect(log.all()).toMatchObject([{ via: 'headers', values: { bl: 100, sid: 's' }, raw }])
    expect(log.all()[0]?.values).not.toHaveProperty('cid')
  })

  it('logs a fetch and leaves its answer to the player', async () => {
    const response = await fetch(`${origin}/live/test/missing.mpd${query}`)
    expect(response.status).toBe(404)
    expect(await response.text()).toBe('no')
    expect(log.all()).toMatchObject([{ via: 'query', object: 'missing.mpd', status: 404, cacheStatus: 'miss' }])
  })

  it('logs every record of a report', async () => {
    await fetch('/cmcd', { method: 'POST', headers: { 'Content-Type': 'application/cmcd' }, body: 'e=ps,sta=p,v=2\ne=t,v=2\n' })
    expect(bodies).toEqual(['e=ps,sta=p,v=2\ne=t,v=2\n'])
    const raw = { kind: 'body', text: 'e=ps,sta=p,v=2\ne=t,v=2\n', contentType: 'application/cmcd' }
    expect(log.all()).toMatchObject([{ via: 'body', method: 'POST', keys: { e: 'ps' }, status: 204, bytes: 0, raw }])
    expect(log.all()[0]?.records).toHaveLength(2)
  })

  it('says that a request was cancelled', async () => {
    const x = new XMLHttpRequest()
    x.open('GET', `/live/test/late.m4s${query}`)
    x.send()
    expect(log.all()[0]?.status).toBeUndefined()
    x.abort()
    expect(log.all()).toMatchObject([{ status: -1, outcome: 'aborted' }])
  })

  it('says that a fetch failed, and throws what the player expects', async () => {
    await expect(fetch(`http://127.0.0.1:1/x.m4s${query}`, { mode: 'no-cors' })).rejects.toThrow()
    expect(log.all()).toMatchObject([{ status: -1, outcome: 'failed' }])
  })

  it('takes no notice of requests without CMCD', async () => {
    await xhr('/live/test/index.m3u8')
    await fetch(`${origin}/live/test/index.m3u8`)
    expect(log.all()).toEqual([])
  })

  it('goes without a trace', async () => {
    untap()
    await xhr(`/live/test/a.m4s${query}`)
    await fetch(`${origin}/live/test/a.m4s${query}`)
    expect(log.all()).toEqual([])
  })
})

describe('the log', () => {
  const sent = { time: 1, method: 'GET', url: 'http://x/a.m4s', object: 'a.m4s', via: 'query' as const, records: [], raw: { kind: 'query' as const, text: 'CMCD=' } }

  it('keeps the newest and forgets the oldest', () => {
    for (let i = 0; i < maxEntries + 20; i++) log.add(sent)
    expect(log.all()).toHaveLength(maxEntries)
    expect(log.all()[0]?.id).toBe(21)
    expect(log.total).toBe(maxEntries + 20)
    expect(() => log.finish(1, { status: 200 })).not.toThrow()
  })

  it('tells of many requests at once', () => {
    vi.useFakeTimers()
    try {
      const listener = vi.fn()
      log.subscribe(listener)
      for (let i = 0; i < 50; i++) log.add(sent)
      expect(listener).not.toHaveBeenCalled()
      vi.advanceTimersByTime(1000)
      expect(listener).toHaveBeenCalledTimes(1)
      expect(log.newest().map((e) => e.id).slice(0, 2)).toEqual([50, 49])
    } finally {
      vi.useRealTimers()
    }
  })
})
