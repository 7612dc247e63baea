import { createContext, use, useState, useSyncExternalStore, type ReactNode } from 'react'
import { Feed, type FeedState } from './feed'
import { LiveStore, type Now } from './liveStore'

interface Source {
  feed: Feed
  store: LiveStore
}

const Context = createContext<Source | undefined>(undefined)

const feedURL = () => `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/v1/feed`

/** FeedProvider holds the one connection of the page. */
export function FeedProvider({ feed: given, children }: { feed?: Feed; children: ReactNode }) {
  const [source] = useState<Source>(() => {
    const feed = given ?? new Feed(feedURL())
    return { feed, store: new LiveStore(feed) }
  })
  return <Context value={source}>{children}</Context>
}

function useSource(): Source {
  const source = use(Context)
  if (!source) throw new Error('there is no FeedProvider around this component')
  return source
}

export function useFeedState(): FeedState {
  const { feed } = useSource()
  return useSyncExternalStore(feed.watch, feed.state)
}

export function useNow(): Now {
  const { store } = useSource()
  return useSyncExternalStore(store.subscribe, store.get)
}
