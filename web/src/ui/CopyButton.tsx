import { useEffect, useState } from 'react'

/** CopyButton puts text on the clipboard and says so, to the eye and to a screen reader. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [said, setSaid] = useState('')
  useEffect(() => {
    if (!said) return
    const timer = setTimeout(() => setSaid(''), 2000)
    return () => clearTimeout(timer)
  }, [said])
  return (
    <button
      type="button"
      className="copy"
      aria-label={`Copy ${label}`}
      title={`Copy ${label}`}
      onClick={() => {
        void copy(text).then((done) => setSaid(done ? 'Copied' : 'Not copied'))
      }}
    >
      {said || 'Copy'}
      <span role="status" className="visually-hidden">
        {said}
      </span>
    </button>
  )
}

/** copy also works where the page came over plain HTTP, which has no Clipboard API. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = document.createElement('textarea')
    area.value = text
    area.style.position = 'fixed'
    area.style.opacity = '0'
    document.body.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    return done
  }
}
