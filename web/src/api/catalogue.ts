import { queryOptions } from '@tanstack/react-query'
import { api, value } from './client'

/** The definitions of the metrics, by name. They change only with the server. */
export const catalogue = queryOptions({
  queryKey: ['catalogue'],
  queryFn: async () => {
    const { metrics } = await value(api.GET('/api/v1/metrics'))
    return new Map(metrics.map((m) => [m.name, m]))
  },
  staleTime: Infinity,
})
