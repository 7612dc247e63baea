import { queryOptions } from '@tanstack/react-query'
import { api, value } from './client'

/** Where the server is reached, by the name that this page knows it by. "{stream}" stands for the name of a stream. */
export const addresses = queryOptions({
  queryKey: ['addresses'],
  queryFn: () => value(api.GET('/api/v1/addresses')),
  staleTime: Infinity,
})

export const addressOf = (template: string, stream: string) => template.replaceAll('{stream}', stream)
