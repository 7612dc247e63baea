import { render, screen, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { describe, expect, it } from 'vitest'
import { parse } from '../../cmcd/parse'
import { LogPanel } from './LogPanel'
import { RequestLog, type Issue } from './requestLog'

const scalar: Issue = { severity: 'error', key: 'br', rule: 'type', section: 'CTA-5004-B §4.3 Table 1', message: 'br is the integer 900, expected a list', record: 0 }
const unrounded: Issue = { severity: 'warning', key: 'bl', rule: 'rounding', message: 'bl is 6120, expected 6100', record: 0 }
const missing: Issue = { severity: 'error', key: 'sid', rule: 'missing', message: 'sid is missing', record: 0 }
const lineFeed: Issue = { severity: 'warning', rule: 'line_feed', message: 'the body ends with a line feed', record: 0 }

function send(log: RequestLog, object: string, ...records: string[]): number {
  return log.add({
    time: Date.now(), method: 'GET', url: `http://weir.example/live/${object}`, object, via: 'query', records: records.map(parse),
    raw: { kind: 'query', text: 'CMCD=' },
  })
}

describe('the log', () => {
  it('says nothing of violations before the validator has answered', async () => {
    const log = new RequestLog()
    render(<LogPanel log={log} />)
    send(log, 'a.m4s', 'br=900,v=2')
    await screen.findByText('1 request')
    expect(screen.queryByRole('img')).toBeNull()
  })

  it('counts violations and warnings, and marks the keys with the words of the validator', async () => {
    const log = new RequestLog()
    render(<LogPanel log={log} />)
    const a = send(log, 'a.m4s', 'bl=(6120),br=900,v=2')
    const b = send(log, 'b.m4s', 'sid="s"')
    log.judge(new Map([[a, [scalar, unrounded, missing]], [b, []]]))
    const list = screen.getByRole('list', { name: 'Requests, newest first' })
    const chip = await within(list).findByTitle(/br is the integer 900/)
    expect(chip.title).toBe('br – encoded bitrate of this object, kbit/s\n✕ br is the integer 900, expected a list (CTA-5004-B §4.3 Table 1)')
    expect(within(chip).getByRole('img', { name: 'violation' })).toBeDefined()
    expect(within(within(list).getByTitle(/bl is 6120/)).getByRole('img', { name: 'warning' })).toBeDefined()
    expect(within(list).getByTitle('✕ sid is missing').textContent).toBe('✕sid missing')
    expect(screen.getByText('2 violations').parentElement?.textContent).toBe('2 requests · 2 violations · 1 warning')
    expect(within(list).getAllByRole('img')).toHaveLength(3)
  })

  it('says all of it in text to those who open the row with the keyboard', async () => {
    const log = new RequestLog()
    render(<LogPanel log={log} />)
    log.judge(new Map([[send(log, 'a.m4s', 'br=900,v=2'), [scalar, lineFeed]]]))
    const row = await screen.findByRole('button', { name: /a\.m4s.*, 1 violation, 1 warning$/ })
    row.focus()
    await userEvent.keyboard('{Enter}')
    expect(row.getAttribute('aria-expanded')).toBe('true')
    expect(screen.getByText('br is the integer 900, expected a list').textContent).toBe('br is the integer 900, expected a list CTA-5004-B §4.3 Table 1')
    expect(screen.getByText('the body ends with a line feed').parentElement?.textContent).toBe('!recordthe body ends with a line feed')
  })

  it('marks the record of a report that the issue is of', async () => {
    const log = new RequestLog()
    render(<LogPanel log={log} />)
    log.judge(new Map([[send(log, 'cmcd', 'br=(1),e=t', 'br=900,e=t'), [{ ...scalar, record: 1 }]]]))
    const marked = await screen.findByTitle(/br is the integer/)
    expect(marked.textContent).toBe('✕br=900')
    expect(screen.getAllByRole('img')).toHaveLength(1)
  })

  it('shows a report that has no record at all', async () => {
    const log = new RequestLog()
    render(<LogPanel log={log} />)
    log.judge(new Map([[send(log, 'cmcd'), [{ ...lineFeed, severity: 'error', rule: 'empty', message: 'the body is empty' }]]]))
    expect((await screen.findByTitle('✕ the body is empty')).textContent).toBe('✕record empty')
  })

  it('shows only violations if that is wanted', async () => {
    const log = new RequestLog()
    render(<LogPanel log={log} />)
    const a = send(log, 'a.m4s', 'br=900,v=2')
    const b = send(log, 'b.m4s', 'bl=(6120)')
    send(log, 'c.m4s', 'sid="s"')
    log.judge(new Map([[a, [scalar]], [b, [unrounded]]]))
    await screen.findByText('1 violation')
    const list = screen.getByRole('list', { name: 'Requests, newest first' })
    await userEvent.click(screen.getByRole('checkbox', { name: 'Only violations' }))
    expect(within(list).getAllByRole('button')).toHaveLength(1)
    expect(within(list).getByText('a.m4s')).toBeDefined()
    await userEvent.type(screen.getByRole('searchbox'), 'b.m4s')
    await screen.findByText('None of the 2 requests that were checked has “b.m4s” in it and a violation; 1 not checked yet.')
  })

  it('claims nothing of what was not checked', async () => {
    const log = new RequestLog()
    render(<LogPanel log={log} />)
    const first = send(log, 'a.m4s', 'br=(900;v),v=2')
    send(log, 'b.m4s', 'br=900,v=2')
    await userEvent.click(screen.getByRole('checkbox', { name: 'Only violations' }))
    await screen.findByText('None of the last 2 requests has been checked yet.')
    log.judge(new Map([[first, []]]))
    await screen.findByText('None of the 1 request that was checked has a violation; 1 not checked yet.')
    log.judge(new Map([[first + 1, []]]))
    await screen.findByText('None of the 2 requests that were checked has a violation.')
  })

  it('says when the validator cannot be reached', async () => {
    const log = new RequestLog()
    render(<LogPanel log={log} />)
    const first = send(log, 'a.m4s', 'br=(900;v),v=2')
    log.setValidator('unreachable')
    await screen.findByText('the validator cannot be reached: 1 not checked')
    await userEvent.click(screen.getByRole('checkbox', { name: 'Only violations' }))
    await screen.findByText('None of the last 1 request has been checked: the validator cannot be reached.')
    send(log, 'b.m4s', 'br=900,v=2')
    log.judge(new Map([[first, []]]))
    await screen.findByText('None of the 1 request that was checked has a violation; 1 not checked: the validator cannot be reached.')
    log.setValidator('answering')
    await expect.poll(() => screen.queryByText(/cannot be reached/)).toBeNull()
  })

  it('finds what the validator has said', async () => {
    const log = new RequestLog()
    render(<LogPanel log={log} />)
    log.judge(new Map([[send(log, 'a.m4s', 'br=900'), [scalar]], [send(log, 'b.m4s', 'sid="s"'), []]]))
    await screen.findByText('1 violation')
    await userEvent.type(screen.getByRole('searchbox'), 'expected a list')
    const list = screen.getByRole('list', { name: 'Requests, newest first' })
    await expect.poll(() => within(list).getAllByRole('button').length).toBe(1)
  })
})
