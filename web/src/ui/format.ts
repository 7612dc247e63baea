/** What stands where there is no number. */
export const nothing = '–'

type Maybe = number | null | undefined

const known = (n: Maybe): n is number => n !== null && n !== undefined && Number.isFinite(n)

const digits = (n: number) => (Math.abs(n) >= 99.95 ? 0 : Math.abs(n) >= 9.995 ? 1 : 2)

const fixed = (n: number, places: number) =>
  n.toLocaleString('en-GB', { minimumFractionDigits: places, maximumFractionDigits: places })

/** count writes whole numbers with thousands apart. */
export function count(n: Maybe): string {
  return known(n) ? Math.round(n).toLocaleString('en-GB') : nothing
}

/** bitrate writes bit/s with the unit that reads best. */
export function bitrate(n: Maybe): string {
  if (!known(n)) return nothing
  if (Math.abs(n) >= 1e9) return `${fixed(n / 1e9, digits(n / 1e9))} Gbit/s`
  if (Math.abs(n) >= 1e6) return `${fixed(n / 1e6, digits(n / 1e6))} Mbit/s`
  if (Math.abs(n) >= 1e3) return `${fixed(n / 1e3, 0)} kbit/s`
  return `${fixed(n, 0)} bit/s`
}

/** bytes writes a size in powers of 1000, as networks count. */
export function bytes(n: Maybe): string {
  if (!known(n)) return nothing
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let i = 0
  let value = n
  while (Math.abs(value) >= 999.5 && i < units.length - 1) {
    value /= 1000
    i++
  }
  return `${fixed(value, i === 0 ? 0 : digits(value))} ${units[i]}`
}

/** seconds writes a short time, milliseconds below one second. */
export function seconds(n: Maybe): string {
  if (!known(n)) return nothing
  const size = Math.abs(n)
  if (size === 0) return '0 s'
  if (size < 0.00005) return '< 0.1 ms'
  if (size < 0.0095) return `${fixed(n * 1000, 1)} ms`
  if (size < 0.9995) return `${fixed(n * 1000, 0)} ms`
  if (size < 60) return `${fixed(n, size < 9.95 ? 1 : 0)} s`
  return clock(n)
}

/** clock writes a length of time: 1:05 min, 2:03:04 h. */
export function clock(n: Maybe): string {
  if (!known(n)) return nothing
  const whole = Math.max(0, Math.floor(n))
  const two = (x: number) => String(x).padStart(2, '0')
  const hours = Math.floor(whole / 3600)
  const minutes = Math.floor((whole % 3600) / 60)
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)} h` : `${minutes}:${two(whole % 60)} min`
}

/** percent writes a share of one. */
export function percent(n: Maybe): string {
  if (!known(n)) return nothing
  const value = n * 100
  return `${fixed(value, value === 0 || value === 100 ? 0 : value < 10 ? 2 : 1)} %`
}

/** rate writes how often in a second. */
export function rate(n: Maybe): string {
  return known(n) ? `${fixed(n, n !== 0 && Math.abs(n) < 99.95 ? 1 : 0)} /s` : nothing
}

/** time writes the time of day in the reader's zone, to the millisecond if asked. */
export function time(at: Date | number | string, milliseconds = false): string {
  const date = new Date(at)
  if (Number.isNaN(date.getTime()) || date.getTime() <= 0) return nothing
  const text = date.toLocaleTimeString('en-GB', { hour12: false })
  return milliseconds ? `${text}.${String(date.getMilliseconds()).padStart(3, '0')}` : text
}

/** dateTime writes day and time in the reader's zone; only the time if it was today. */
export function dateTime(at: Date | number | string, now = new Date()): string {
  const date = new Date(at)
  if (Number.isNaN(date.getTime()) || date.getTime() <= 0) return nothing
  if (date.toDateString() === now.toDateString()) return time(date)
  return `${date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' })}, ${time(date)}`
}

/** middle shortens the name of an object in its middle: its kind is at the front, its number at the end. */
export function middle(name: string, front = 6, back = 10): string {
  return name.length > front + back + 2 ? `${name.slice(0, front)}…${name.slice(-back)}` : name
}
