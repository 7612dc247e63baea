import { cacheStatus } from './cacheStatus'
import { describe, type Outgoing, type RequestLog } from './requestLog'

/** The part of window that is listened to. */
export interface Scope {
  XMLHttpRequest: typeof XMLHttpRequest
  fetch: typeof fetch
  location: { href: string }
  PerformanceObserver?: typeof PerformanceObserver
}

/**
 * tap listens to every XMLHttpRequest and fetch of the page and logs those that carry CMCD. It must
 * be in place before a player is loaded, for players keep their own reference to fetch. It changes
 * neither a request nor its answer: players measure throughput on these very objects, so the body
 * of a fetch is not wrapped; its size and times come from the browser's Resource Timing.
 * The returned function takes the tap out again.
 */
export function tap(scope: Scope, log: RequestLog): () => void {
  const undo = [tapXHR(scope, log), tapFetch(scope, log)]
  return () => undo.forEach((f) => f())
}

function tapXHR(scope: Scope, log: RequestLog): () => void {
  const proto = scope.XMLHttpRequest.prototype
  // They are called with the request as this.
  // eslint-disable-next-line @typescript-eslint/unbound-method
  const original = { open: proto.open, setRequestHeader: proto.setRequestHeader, send: proto.send }
  const outgoing = new WeakMap<XMLHttpRequest, Outgoing>()

  proto.open = function (this: XMLHttpRequest, method: string, url: string | URL, ...rest: unknown[]) {
    outgoing.set(this, { method, url: String(url), headers: {} })
    return (original.open as (...args: unknown[]) => void).call(this, method, url, ...rest)
  }
  proto.setRequestHeader = function (name, value) {
    const request = outgoing.get(this)
    if (request) request.headers[name] = value
    return original.setRequestHeader.call(this, name, value)
  }
  proto.send = function (body) {
    const request = outgoing.get(this)
    const found = request && describe({ ...request, body: textOf(body) }, scope.location.href)
    if (found) {
      const started = performance.now()
      const id = log.add({ ...found, time: Date.now() })
      let ttfb: number | undefined
      let loaded = 0
      let outcome: 'aborted' | 'failed' | undefined
      this.addEventListener('readystatechange', () => {
        if (this.readyState === 2) ttfb = performance.now() - started
      })
      // What had come before an abort counts: the server has sent it.
      this.addEventListener('progress', (event) => (loaded = event.loaded))
      this.addEventListener('abort', () => (outcome = 'aborted'))
      this.addEventListener('error', () => (outcome = 'failed'))
      this.addEventListener('timeout', () => (outcome = 'failed'))
      this.addEventListener('loadend', () => {
        log.finish(id, {
          status: outcome ? -1 : this.status,
          outcome,
          cacheStatus: cacheStatus(this.status ? this.getResponseHeader('Cache-Status') : null),
          bytes: loaded,
          ttfb,
          duration: performance.now() - started,
        })
      })
    }
    return original.send.call(this, body)
  }
  return () => {
    Object.assign(proto, original)
  }
}

function tapFetch(scope: Scope, log: RequestLog): () => void {
  const original = scope.fetch
  // Fetches whose timing has not come yet, by address; the same address may be fetched twice.
  const waiting = new Map<string, number[]>()
  const forget = (url: string, id: number) => {
    const rest = waiting.get(url)?.filter((other) => other !== id)
    if (rest?.length) waiting.set(url, rest)
    else waiting.delete(url)
  }

  let observer: PerformanceObserver | undefined
  if (scope.PerformanceObserver) {
    observer = new scope.PerformanceObserver((list) => {
      for (const entry of list.getEntries() as PerformanceResourceTiming[]) {
        const id = waiting.get(entry.name)?.[0]
        if (entry.initiatorType !== 'fetch' || id === undefined) continue
        forget(entry.name, id)
        const size = entry.encodedBodySize > 0 ? { bytes: entry.encodedBodySize } : {}
        log.finish(id, { ...size, ttfb: entry.responseStart - entry.requestStart, duration: entry.duration })
      }
    })
    observer.observe({ type: 'resource', buffered: false })
  }

  scope.fetch = async function (input: RequestInfo | URL, init?: RequestInit) {
    const found = describe(await outgoingOf(input, init), scope.location.href)
    if (!found) return original.call(scope, input, init)
    const started = performance.now()
    const id = log.add({ ...found, time: Date.now() })
    if (observer) waiting.set(found.url, [...(waiting.get(found.url) ?? []), id])
    try {
      const response = await original.call(scope, input, init)
      const length = response.status === 204 ? '0' : response.headers.get('Content-Length')
      log.finish(id, {
        status: response.status,
        cacheStatus: cacheStatus(response.headers.get('Cache-Status')),
        ttfb: performance.now() - started,
        ...(length === null ? {} : { bytes: Number(length) }),
        ...(response.body === null || length === '0' ? { duration: performance.now() - started } : {}),
      })
      return response
    } catch (error) {
      forget(found.url, id)
      const aborted = error instanceof DOMException && error.name === 'AbortError'
      log.finish(id, { status: -1, outcome: aborted ? 'aborted' : 'failed', duration: performance.now() - started })
      throw error
    }
  }
  return () => {
    observer?.disconnect()
    scope.fetch = original
  }
}

async function outgoingOf(input: RequestInfo | URL, init?: RequestInit): Promise<Outgoing> {
  if (input instanceof Request) {
    const post = input.method === 'POST' && !init?.body
    return {
      method: init?.method ?? input.method,
      url: input.url,
      headers: Object.fromEntries(new Headers(init?.headers ?? input.headers)),
      body: post ? await input.clone().text() : textOf(init?.body),
    }
  }
  return {
    method: init?.method ?? 'GET',
    url: String(input),
    headers: Object.fromEntries(new Headers(init?.headers)),
    body: init?.body instanceof Blob ? await init.body.text() : textOf(init?.body),
  }
}

function textOf(body: unknown): string {
  if (typeof body === 'string') return body
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return new TextDecoder().decode(body)
  return ''
}
