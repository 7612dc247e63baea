import { createRootRoute, createRoute, createRouter, lazyRouteComponent, type RouterHistory } from '@tanstack/react-router'
import { Frame } from './Frame'
import { NowPage } from './NowPage'
import { NotFound } from './NotFound'

const root = createRootRoute({ component: Frame, notFoundComponent: NotFound })

const now = createRoute({ getParentRoute: () => root, path: '/', component: NowPage })

const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : undefined)

export const sessionsRoute = createRoute({
  getParentRoute: () => root,
  path: '/sessions',
  validateSearch: (search: Record<string, unknown>): { prefix?: string; stream?: string; cursor?: string } => ({
    prefix: text(search['prefix']),
    stream: text(search['stream']),
    cursor: text(search['cursor']),
  }),
  component: lazyRouteComponent(() => import('./routes'), 'SessionsRoute'),
})

export const sessionRoute = createRoute({
  getParentRoute: () => root,
  path: '/sessions/$sid',
  component: lazyRouteComponent(() => import('./routes'), 'SessionRoute'),
})

const tree = root.addChildren([now, sessionsRoute, sessionRoute])

export const newRouter = (history?: RouterHistory) => createRouter({ routeTree: tree, history, defaultPreload: 'intent', scrollRestoration: true })

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof newRouter>
  }
}
