import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { RequestLog } from '../features/watch/requestLog'
import { Validator } from '../features/watch/validator'
import { WatchPage } from '../features/watch/WatchPage'
import { tap } from '../features/watch/wiretap'

// Before any player is loaded: a player keeps the fetch that it finds.
const log = new RequestLog()
tap(window, log)
new Validator(log)

const root = document.getElementById('root')
if (root) {
  createRoot(root).render(
    <StrictMode>
      <WatchPage log={log} />
    </StrictMode>,
  )
}
