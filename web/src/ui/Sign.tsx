/** Tone is what a sign means; each has its own shape, so that it never speaks by colour alone. */
export type Tone = 'good' | 'fair' | 'bad' | 'quiet'

/** Sign is a small mark with a word. */
export function Sign({ tone, mark, children }: { tone: Tone; mark: string; children: string }) {
  return (
    <span className={`sign ${tone}`}>
      <span aria-hidden="true">{mark}</span> {children}
    </span>
  )
}
