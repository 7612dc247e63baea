import { QueryClient } from '@tanstack/react-query'
import { ProblemError } from '../api/client'

/** What the server has refused it refuses again; what it could not do may be done at the next try. */
export function newQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        retry: (failures, error) => failures < 2 && !(error instanceof ProblemError && error.status < 500),
        refetchOnWindowFocus: false,
      },
    },
  })
}
