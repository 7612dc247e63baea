export type CacheStatus = 'hit' | 'miss' | 'stale' | 'collapsed' | 'bypass'

/**
 * cacheStatus reads what the edge says of itself in Cache-Status (RFC 9211): the last member of the
 * list is the cache nearest to the viewer. Empty if it says nothing.
 */
export function cacheStatus(header: string | null): CacheStatus | '' {
  const nearest = header?.split(',').at(-1)?.trim()
  if (!nearest) return ''
  const parameters = new Map(
    nearest
      .split(';')
      .slice(1)
      .map((p) => {
        const [name = '', value = ''] = p.trim().split('=')
        return [name, value] as const
      }),
  )
  const ttl = Number(parameters.get('ttl'))
  const stale = (parameters.get('detail') ?? '').includes('stale') || ttl < 0
  if (parameters.has('collapsed')) return 'collapsed'
  if (parameters.has('hit')) return stale ? 'stale' : 'hit'
  switch (parameters.get('fwd')) {
    case undefined:
      return ''
    case 'bypass':
    case 'method':
    case 'request':
      return 'bypass'
    default:
      return 'miss'
  }
}
