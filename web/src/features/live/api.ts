import { queryOptions } from '@tanstack/react-query'
import { api, value } from '../../api/client'
import { span } from '../../feed/liveStore'

export const streams = queryOptions({
  queryKey: ['streams'],
  queryFn: async () => (await value(api.GET('/api/v1/streams'))).streams,
  refetchInterval: 3000,
})

/** A metric over the last five minutes, for the time before the page was opened. */
export const past = (name: string) =>
  queryOptions({
    queryKey: ['past', name],
    queryFn: async () => {
      const to = new Date()
      const from = new Date(to.getTime() - span * 1000)
      const result = await value(
        api.GET('/api/v1/metrics/{name}', {
          params: { path: { name }, query: { from: from.toISOString(), to: to.toISOString(), grain: '10s' } },
        }),
      )
      return result.rows.flatMap((row) => (row.time ? [{ time: Date.parse(row.time) / 1000, value: row.metrics[name] ?? null }] : []))
    },
    // It fills the past once; the feed goes on from there.
    staleTime: Infinity,
    retry: false,
  })
