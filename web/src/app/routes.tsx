import { getRouteApi } from '@tanstack/react-router'
import { useCallback } from 'react'
import { SessionPage } from '../features/sessions/SessionPage'
import { SessionsPage } from '../features/sessions/SessionsPage'

const sessions = getRouteApi('/sessions')
const session = getRouteApi('/sessions/$sid')

export function SessionsRoute() {
  const search = sessions.useSearch()
  const navigate = sessions.useNavigate()
  const change = useCallback((to: typeof search) => void navigate({ to: '/sessions', search: to }), [navigate])
  return <SessionsPage search={search} change={change} />
}

export function SessionRoute() {
  const { sid } = session.useParams()
  return <SessionPage key={sid} sid={sid} />
}
