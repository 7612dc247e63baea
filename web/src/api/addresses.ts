import { queryOptions } from '@tanstack/react-query'

/** Where the server is reached. "{stream}" stands for the name of a stream. */
export interface Addresses {
  watch: string
  hls: string
  dash: string
  rtmp: string
  mcp: string
}

/** The default addresses of `weir serve`, on the host that the dashboard came from. */
export function defaultAddresses(host: string, origin: string): Addresses {
  return {
    watch: `http://${host}:8080/watch/{stream}`,
    hls: `http://${host}:8080/live/{stream}/index.m3u8`,
    dash: `http://${host}:8080/live/{stream}/manifest.mpd`,
    rtmp: `rtmp://${host}/live/{stream}`,
    mcp: `${origin}/mcp`,
  }
}

/** A server that does not tell its addresses is taken to have the default ones. */
export const addresses = queryOptions({
  queryKey: ['addresses'],
  queryFn: async (): Promise<Addresses> => {
    const fallback = defaultAddresses(location.hostname, location.origin)
    try {
      const response = await fetch('/api/v1/addresses', { headers: { Accept: 'application/json' } })
      if (!response.ok) return fallback
      return { ...fallback, ...((await response.json()) as Partial<Addresses>) }
    } catch {
      return fallback
    }
  },
  staleTime: Infinity,
})

export const addressOf = (template: string, stream: string) => template.replaceAll('{stream}', stream)
