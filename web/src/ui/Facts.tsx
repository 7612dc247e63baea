import type { ReactNode } from 'react'
import { Defined } from './Defined'

export interface Fact {
  name: string
  definition: string
  value: ReactNode
  /** A word more, below the value. */
  note?: string
}

/** Facts is a list of numbers with their names and definitions. */
export function Facts({ facts }: { facts: Fact[] }) {
  return (
    <dl className="facts">
      {facts.map(({ name, definition, value, note }) => (
        <div key={name}>
          <dt>
            <Defined definition={definition}>{name}</Defined>
          </dt>
          <dd>
            {value}
            {note && <small>{note}</small>}
          </dd>
        </div>
      ))}
    </dl>
  )
}
