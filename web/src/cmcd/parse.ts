/** A value of a CMCD key: lists keep their values and drop the object types they are for. */
export type Value = string | number | boolean | (string | number)[]

/** Pair is one key of a record, its value as it was written and as it reads. */
export interface Pair {
  key: string
  /** As on the wire, without the key; "" for a boolean that is true by being there. */
  raw: string
  value: Value
}

/**
 * parse reads one record of CMCD, version 1 or 2, already percent-decoded (CTA-5004-B §4.1). It is
 * lenient, because it shows what a player really sent: what is no key is left out.
 */
export function parse(record: string): Pair[] {
  const pairs: Pair[] = []
  for (const part of split(record, ',')) {
    const text = part.trim()
    const equals = text.indexOf('=')
    const key = equals < 0 ? text : text.slice(0, equals).trim()
    if (!/^[A-Za-z*][A-Za-z0-9_.*-]*$/.test(key)) continue
    const raw = equals < 0 ? '' : text.slice(equals + 1).trim()
    pairs.push({ key, raw, value: decode(raw) })
  }
  return pairs
}

/** parseBody reads the body of event reports: records separated by line feeds. */
export function parseBody(body: string): Pair[][] {
  return body
    .split('\n')
    .map((line) => parse(line.trim()))
    .filter((pairs) => pairs.length > 0)
}

/** decode reads a value as it was written on the wire; "" is true. */
export function decode(raw: string): Value {
  if (raw === '') return true
  if (raw === '?1') return true
  if (raw === '?0') return false
  if (raw.startsWith('(')) {
    const inner = raw.slice(1, raw.lastIndexOf(')') < 0 ? undefined : raw.lastIndexOf(')'))
    return split(inner, ' ')
      .map((item) => item.trim())
      .filter((item) => item !== '')
      .map((item) => scalar(split(item, ';')[0] ?? ''))
  }
  return scalar(split(raw, ';')[0] ?? '')
}

function scalar(raw: string): string | number {
  if (raw.startsWith('"')) return raw.slice(1, raw.endsWith('"') && raw.length > 1 ? -1 : undefined).replace(/\\(["\\])/g, '$1')
  return /^-?\d+(\.\d+)?$/.test(raw) ? Number(raw) : raw
}

/** split cuts at a separator that is neither within quotes nor within parentheses. */
function split(text: string, separator: string): string[] {
  const parts: string[] = []
  let from = 0
  let depth = 0
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (quoted) {
      if (c === '\\') i++
      else if (c === '"') quoted = false
    } else if (c === '"') quoted = true
    else if (c === '(') depth++
    else if (c === ')') depth--
    else if (c === separator && depth <= 0) {
      parts.push(text.slice(from, i))
      from = i + 1
    }
  }
  parts.push(text.slice(from))
  return parts
}
