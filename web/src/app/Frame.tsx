import { SegmentedControl, useMantineColorScheme } from '@mantine/core'
import { Link, Outlet } from '@tanstack/react-router'
import { useFeedState } from '../feed/FeedContext'
import type { FeedState } from '../feed/feed'
import { Logo } from '../ui/Logo'
import { Sign, type Tone } from '../ui/Sign'

const states: Record<FeedState, { tone: Tone; mark: string; text: string; means: string }> = {
  connecting: { tone: 'fair', mark: '◔', text: 'Connecting', means: 'The live feed is not connected yet.' },
  open: { tone: 'good', mark: '●', text: 'Live', means: 'The numbers come live from the server, once a second.' },
  lost: { tone: 'bad', mark: '▲', text: 'Disconnected', means: 'The live feed is lost and is being connected again; the live numbers are the last that came.' },
}

/** Frame is what stands around every page of the dashboard. */
export function Frame() {
  const feed = states[useFeedState()]
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  return (
    <div className="frame">
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <header>
        <Link to="/" className="home" aria-label="Weir, to the start page">
          <Logo />
        </Link>
        <nav aria-label="Pages">
          <Link to="/" activeOptions={{ exact: true }}>
            Now
          </Link>
          <Link to="/sessions">Sessions</Link>
        </nav>
        <p role="status" title={feed.means} className="feed">
          <Sign tone={feed.tone} mark={feed.mark}>
            {feed.text}
          </Sign>
        </p>
        <SegmentedControl
          size="xs"
          aria-label="Colours"
          value={colorScheme}
          onChange={(value) => setColorScheme(value)}
          data={[
            { value: 'auto', label: 'Auto' },
            { value: 'light', label: 'Light' },
            { value: 'dark', label: 'Dark' },
          ]}
        />
      </header>
      <main id="content" tabIndex={-1}>
        <Outlet />
      </main>
    </div>
  )
}
