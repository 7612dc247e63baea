import { meaning } from '../../cmcd/keys'

/** Keys is the CMCD of one record as it was sent, each key with its meaning. */
export function Keys({ cmcd }: { cmcd: Record<string, string> | undefined }) {
  const keys = Object.entries(cmcd ?? {})
  if (keys.length === 0) return <p className="quiet">This request carried no CMCD.</p>
  return (
    <dl className="keys">
      {keys.map(([key, raw]) => (
        <div key={key}>
          <dt>{written(key, raw)}</dt>
          <dd>{meaning(key, raw)}</dd>
        </div>
      ))}
    </dl>
  )
}

/** The API says true and false where the wire has the bare key and ?0. */
function written(key: string, raw: string): string {
  if (raw === 'true') return key
  return `${key}=${raw === 'false' ? '?0' : raw}`
}
