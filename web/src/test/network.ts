import { vi } from 'vitest'

type Answer = { status?: number; body: unknown }

/** network puts answers in the place of the network, by path (the longest that fits wins), and notes what was asked. */
export function network(answers: Record<string, unknown>): { asked: URL[] } {
  const asked: URL[] = []
  vi.stubGlobal(
    'fetch',
    vi.fn((input: RequestInfo | URL): Promise<Response> => {
      const url = new URL(input instanceof Request ? input.url : String(input), location.href)
      asked.push(url)
      const path = Object.keys(answers)
        .filter((p) => url.pathname.startsWith(p))
        .sort((a, b) => b.length - a.length)[0]
      const found = path === undefined ? { status: 404, body: { status: 404, detail: 'nothing there' } } : answers[path]
      const { status = 200, body } = isAnswer(found) ? found : { body: found }
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      return Promise.resolve(new Response(text, { status, headers: { 'Content-Type': 'application/json' } }))
    }),
  )
  return { asked }
}

function isAnswer(value: unknown): value is Answer {
  return typeof value === 'object' && value !== null && 'body' in value
}

/** FakeSocket stands for a WebSocket; say and hangUp are what the server does. */
export class FakeSocket {
  static made: FakeSocket[] = []
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: (() => void) | null = null
  onerror: (() => void) | null = null
  closed = false
  readonly url: string

  constructor(url: string) {
    this.url = url
    FakeSocket.made.push(this)
  }

  say(event: string, data: unknown, time = '2026-11-20T10:00:00Z') {
    this.onmessage?.({ data: JSON.stringify({ event, time, data }) })
  }

  hangUp() {
    this.onclose?.()
  }

  close() {
    this.closed = true
  }
}
