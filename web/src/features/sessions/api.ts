import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { api, value } from '../../api/client'

export interface SessionSearch {
  prefix?: string
  stream?: string
  cursor?: string
}

export const sessionList = (search: SessionSearch, limit: number) =>
  queryOptions({
    queryKey: ['sessions', search, limit],
    queryFn: () => value(api.GET('/api/v1/sessions', { params: { query: { ...search, limit } } })),
    placeholderData: keepPreviousData,
    // An older page does not change any more.
    refetchInterval: search.cursor ? false : 5000,
  })

export const sessionDetails = (sid: string) =>
  queryOptions({
    queryKey: ['session', sid],
    queryFn: () => value(api.GET('/api/v1/sessions/{sid}', { params: { path: { sid } } })),
    refetchInterval: (query) => (query.state.data?.session.active || query.state.error ? 2000 : false),
  })
