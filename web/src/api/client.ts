import createClient from 'openapi-fetch'
import type { components, paths } from './schema'

export type Schemas = components['schemas']
export type Live = Schemas['Live']
export type Session = Schemas['Session']
export type SessionDetails = Schemas['SessionDetails']
export type Exchange = Schemas['Exchange']
export type Rebuffer = Schemas['Rebuffer']
export type Distrust = Schemas['Distrust']
export type PlayerEvent = Schemas['Event']
export type StreamInfo = Schemas['StreamInfo']
export type MetricResult = Schemas['MetricResult']
export type Metric = Schemas['Metric']

/** The API of the listener that served the page. fetch is looked up at each call, so that a test can put its own there. */
export const api = createClient<paths>({ baseUrl: location.origin, fetch: (request) => globalThis.fetch(request) })

/** ProblemError is an answer that is no success, told in the server's words (RFC 9457). */
export class ProblemError extends Error {
  readonly status: number
  constructor(status: number, problem: Schemas['ErrorModel'] | undefined) {
    super(problem?.detail ?? problem?.title ?? `The server answered with status ${status}.`)
    this.status = status
  }
}

/** value takes the data out of an answer, or throws what went wrong. */
export async function value<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answer
  if (data === undefined) throw new ProblemError(response.status, error as Schemas['ErrorModel'] | undefined)
  return data
}
