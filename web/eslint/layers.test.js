import { describe, expect, it } from 'vitest'
import { violation } from './layers.js'

describe('the import law', () => {
  it.each([
    ['app/NowPage.tsx', 'features/live/MetricCards'],
    ['features/live/StreamsTable.tsx', 'features/live/api'],
    ['features/live/StreamsTable.tsx', 'ui/format'],
    ['features/sessions/timeline.ts', 'cmcd/parse'],
    ['feed/feed.ts', 'api/client'],
    ['ui/Chart.tsx', 'ui/format'],
    ['features/live/api.test.ts', 'test/server'],
  ])('%s may import %s', (from, to) => expect(violation(from, to)).toBe(''))

  it.each([
    ['features/live/StreamsTable.tsx', 'features/sessions/api', 'feature live imports feature sessions'],
    ['features/live/StreamsTable.tsx', 'app/router', 'not app'],
    ['features/live/StreamsTable.tsx', 'test/server', 'not test'],
    ['ui/Chart.tsx', 'api/client', 'imports nothing of ours'],
    ['api/client.ts', 'feed/feed', 'imports nothing of ours'],
    ['feed/feed.ts', 'ui/format', 'not ui'],
    ['utils/dates.ts', 'ui/format', 'utils is no layer'],
  ])('%s may not import %s', (from, to, why) => expect(violation(from, to)).toContain(why))
})
