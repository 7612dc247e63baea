import type { components } from '../../api/schema'
import type { Issue, RequestLog, Sent } from './requestLog'

type Text = components['schemas']['CMCDText']
type Answer = components['schemas']['CMCDRecords']

/** Where the page's own server validates. */
const address = '/watch/validate'

/** After something was logged: a player sends several requests at once. */
const gather = 1000
/** After one batch, if there is more. */
const breathe = 300
/** After a failure, doubled each time. */
const backOff = 10_000
const longest = 160_000

/** The server takes 50 records and 64 KiB; a report has several records, and JSON makes them longer. */
const maxTexts = 20
const maxBytes = 24_000

/**
 * Validator asks the server what is wrong with the CMCD in the log, and tells the log. It never
 * disturbs the player: it asks for a few requests together, one batch at a time and with low
 * priority. The log is its queue, so what falls out of the log before its turn is not asked about. A
 * server that cannot be reached or has no time is asked again after a while; one that has no
 * validator, never.
 */
export class Validator {
  private readonly log: RequestLog
  private readonly leave: () => void
  private stopped = false
  private timer: ReturnType<typeof setTimeout> | undefined
  private asking = false
  private failures = 0
  /** Everything up to this ID has been asked about. */
  private done = 0

  constructor(log: RequestLog) {
    this.log = log
    this.leave = log.subscribe(() => this.schedule(gather))
  }

  stop(): void {
    this.leave()
    clearTimeout(this.timer)
    this.stopped = true
  }

  private schedule(delay: number): void {
    if (this.asking || this.timer !== undefined || this.stopped) return
    this.timer = setTimeout(() => {
      this.timer = undefined
      void this.ask()
    }, delay)
  }

  private async ask(): Promise<void> {
    const batch = this.next()
    if (batch.length === 0) return
    this.asking = true
    const answer = await this.post(batch.map(text))
    this.asking = false
    switch (answer) {
      case 'never':
        this.stop()
        this.log.setValidator('unreachable')
        return
      case 'later':
        this.log.setValidator('unreachable')
        this.schedule(Math.min(backOff * 2 ** this.failures++, longest))
        return
      case 'refused':
        this.done = batch.at(-1)?.id ?? this.done
        break
      default:
        this.take(batch, answer)
    }
    this.log.setValidator('answering')
    this.failures = 0
    this.schedule(breathe)
  }

  /** next is what has not been asked about yet, as much of it as one question may have. */
  private next(): Sent[] {
    const batch: Sent[] = []
    let size = 0
    for (const sent of this.log.all()) {
      if (sent.id <= this.done) continue
      size += sent.raw.text.length
      if (batch.length === maxTexts || (batch.length > 0 && size > maxBytes)) break
      batch.push(sent)
    }
    return batch
  }

  private take(batch: Sent[], answer: Answer): void {
    // Of an answer that was cut, what comes after the last record is asked about again.
    const last = answer.truncated ? Math.max(0, answer.records.at(-1)?.index ?? 0) : batch.length - 1
    const issues = new Map<number, Issue[]>(batch.slice(0, last + 1).map((sent) => [sent.id, []]))
    for (const record of answer.records) {
      const sent = batch[record.index]
      if (!sent) continue
      issues.get(sent.id)?.push(...record.issues.map((issue) => ({ ...issue, record: (record.record ?? 1) - 1 })))
    }
    this.done = batch[last]?.id ?? this.done
    this.log.judge(issues)
  }

  /** post returns the answer, or what to do without one. */
  private async post(records: Text[]): Promise<Answer | 'later' | 'never' | 'refused'> {
    try {
      const response = await fetch(address, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ records }),
        priority: 'low',
        signal: AbortSignal.timeout(10_000),
      })
      if (response.ok) return (await response.json()) as Answer
      if (response.status === 404 || response.status === 405) return 'never'
      return response.status === 413 || response.status === 422 ? 'refused' : 'later'
    } catch {
      return 'later'
    }
  }
}

function text(sent: Sent): Text {
  const { kind, text, contentType } = sent.raw
  return { kind, text, ...(contentType ? { content_type: contentType } : {}) }
}
