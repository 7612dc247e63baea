import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { RequestLog, type Raw } from './requestLog'
import { Validator } from './validator'

interface Question {
  records: { kind: string; text: string; content_type?: string }[]
}

let log: RequestLog
let validator: Validator
let asked: Question[]
let answer: (question: Question) => Response | Promise<Response>

const issue = { severity: 'error' as const, key: 'br', rule: 'type', section: 'CTA-5004-B §4.3', message: 'br is the integer 900' }
const record = (index: number, more: object = {}) => ({ index, mode: 'request', warnings: [], issues: [issue], ...more })
const reply = (body: object, status = 200) => new Response(JSON.stringify(body), { status })

beforeEach(() => {
  vi.useFakeTimers()
  log = new RequestLog()
  asked = []
  answer = (question) => reply({ records: question.records.map((_, i) => record(i)) })
  vi.stubGlobal(
    'fetch',
    vi.fn(async (input: string, init: RequestInit) => {
      expect(input).toBe('/watch/validate')
      const question = JSON.parse(init.body as string) as Question
      asked.push(question)
      return answer(question)
    }),
  )
  validator = new Validator(log)
})

afterEach(() => {
  validator.stop()
  vi.useRealTimers()
})

const add = (raw: Raw) => log.add({ time: 1, method: 'GET', url: 'http://x/a.m4s', object: 'a.m4s', via: raw.kind, records: [], raw })
const query = (text = 'CMCD=br%3D900%2Cv%3D2') => add({ kind: 'query', text })

describe('the validator', () => {
  it('asks about what was sent as it was sent, several requests at once, and only once', async () => {
    const first = query()
    add({ kind: 'body', text: 'e=t,v=2\n', contentType: 'application/cmcd' })
    await vi.advanceTimersByTimeAsync(5000)
    expect(asked).toEqual([
      {
        records: [
          { kind: 'query', text: 'CMCD=br%3D900%2Cv%3D2' },
          { kind: 'body', text: 'e=t,v=2\n', content_type: 'application/cmcd' },
        ],
      },
    ])
    expect(log.all()[0]).toMatchObject({ id: first, issues: [{ ...issue, record: 0 }] })
    query()
    await vi.advanceTimersByTimeAsync(5000)
    expect(asked).toHaveLength(2)
    expect(asked[1]?.records).toHaveLength(1)
  })

  it('tells the records of a report apart', async () => {
    answer = () => reply({ records: [record(0, { record: 1, issues: [] }), record(0, { record: 2 })] })
    add({ kind: 'body', text: 'e=t\ne=ps' })
    await vi.advanceTimersByTimeAsync(5000)
    expect(log.all()[0]?.issues).toEqual([{ ...issue, record: 1 }])
  })

  it('asks in small batches, one at a time', async () => {
    let open = 0
    let most = 0
    answer = async (question) => {
      most = Math.max(most, ++open)
      await new Promise((done) => setTimeout(done, 500))
      open--
      return reply({ records: question.records.map((_, i) => record(i)) })
    }
    for (let i = 0; i < 45; i++) query()
    await vi.advanceTimersByTimeAsync(20_000)
    expect(asked.map((question) => question.records.length)).toEqual([20, 20, 5])
    expect(most).toBe(1)
    expect(log.all().every((sent) => sent.issues?.length === 1)).toBe(true)
  })

  it('keeps a question short, and asks on its own about what is long', async () => {
    for (const length of [100, 23_000, 2000, 30_000, 100]) query('x'.repeat(length))
    await vi.advanceTimersByTimeAsync(20_000)
    expect(asked.map((question) => question.records.length)).toEqual([2, 1, 1, 1])
  })

  it('asks again about what an answer had no room for', async () => {
    answer = (question) => {
      if (question.records.length === 1) return reply({ records: [record(0)] })
      return reply({ records: [record(0), record(1)], truncated: true })
    }
    for (let i = 0; i < 3; i++) query(`CMCD=${i}`)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(asked.map((question) => question.records.map((r) => r.text))).toEqual([['CMCD=0', 'CMCD=1', 'CMCD=2'], ['CMCD=2']])
    expect(log.all().every((sent) => sent.issues?.length === 1)).toBe(true)
  })

  it('passes over what the server refuses to look at', async () => {
    answer = (question) => (question.records[0]?.text === 'bad' ? reply({}, 413) : reply({ records: [record(0)] }))
    query('bad')
    await vi.advanceTimersByTimeAsync(5000)
    query('good')
    await vi.advanceTimersByTimeAsync(5000)
    expect(log.all().map((sent) => sent.issues?.length)).toEqual([undefined, 1])
    expect(asked).toHaveLength(2)
  })

  it.each([
    ['cannot be reached', () => Promise.reject(new TypeError('Failed to fetch'))],
    ['has no time', () => reply({}, 503)],
    ['answers with something else', () => new Response('<html>')],
  ])('waits longer and longer when the server %s, says nothing, and goes on later', async (_, trouble) => {
    const said = vi.spyOn(console, 'error')
    answer = trouble
    query()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(asked).toHaveLength(3) // after 1, 11 and 31 seconds
    await vi.advanceTimersByTimeAsync(10 * 60_000)
    expect(asked.length).toBeLessThan(9)
    expect(log.all()[0]?.issues).toBeUndefined()
    expect(log.validator()).toBe('unreachable')
    answer = () => reply({ records: [record(0)] })
    await vi.advanceTimersByTimeAsync(200_000)
    expect(log.all()[0]?.issues).toHaveLength(1)
    expect(log.validator()).toBe('answering')
    expect(said).not.toHaveBeenCalled()
  })

  it('never asks again where there is no validator', async () => {
    answer = () => reply({}, 404)
    query()
    await vi.advanceTimersByTimeAsync(5000)
    query()
    await vi.advanceTimersByTimeAsync(10 * 60_000)
    expect(asked).toHaveLength(1)
    expect(log.validator()).toBe('unreachable')
  })

  it('asks nothing while nothing is sent, and nothing after its end', async () => {
    await vi.advanceTimersByTimeAsync(60_000)
    expect(asked).toEqual([])
    query()
    validator.stop()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(asked).toEqual([])
  })
})
