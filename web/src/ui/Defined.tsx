import { Tooltip } from '@mantine/core'
import type { ReactNode } from 'react'

interface Props {
  definition: string
  /** It stands within something that takes the focus already, such as a button. */
  inside?: boolean
  children: ReactNode
}

/** Defined is a word with its definition: on hover, on focus, and on touch. */
export function Defined({ definition, inside, children }: Props) {
  if (!definition) return <>{children}</>
  return (
    <Tooltip label={definition} multiline maw={340} withArrow openDelay={150} events={{ hover: true, focus: true, touch: true }}>
      <span className="defined" tabIndex={inside ? undefined : 0} aria-description={definition}>
        {children}
      </span>
    </Tooltip>
  )
}
