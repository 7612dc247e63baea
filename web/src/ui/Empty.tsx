import type { ReactNode } from 'react'
import { CopyButton } from './CopyButton'

/** Empty says why there is nothing, and what fills it. */
export function Empty({ title, command, children }: { title: string; command?: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="title">{title}</p>
      {children && <p>{children}</p>}
      {command && (
        <div className="command">
          <pre>
            <code>{command}</code>
          </pre>
          <CopyButton text={command.replaceAll('\\\n', ' ').replace(/\s+/g, ' ')} label="command" />
        </div>
      )}
    </div>
  )
}
