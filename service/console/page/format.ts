/** All formatting of values for users. */

const KIB = 1024

/** Bytes with a unit: `812 B`, `4.2 KiB`. */
export function formatBytes (bytes: number): string {
  if (bytes < KIB) return `${bytes} B`
  const [value, unit] = bytes < KIB * KIB ? [bytes / KIB, 'KiB'] : [bytes / KIB / KIB, 'MiB']
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`
}

/** A duration in its two largest units: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`. */
export function formatSpan (ms: number): string {
  const seconds = Math.max(0, ms) / 1_000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor(seconds / 60 % 60)} min`
  return `${Math.floor(seconds / 86_400)} d ${Math.floor(seconds / 3_600 % 24)} h`
}

/** Events per second. */
export function formatRate (perSecond: number): string {
  return `${perSecond === 0 || perSecond >= 100 ? perSecond.toFixed(0) : perSecond.toFixed(1)}/s`
}

export function formatCount (count: number): string {
  return count.toLocaleString('en')
}

/** A count with its noun: `1 event`, `2 events`. */
export function countOf (count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** The time of day to the millisecond, so that events of a burst can be distinguished. */
export function formatTime (ms: number): string {
  const date = new Date(ms)
  return `${date.toLocaleTimeString('en-GB')}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

/** JSON with line breaks and indentation; undefined for text that is not JSON. */
export function prettyJson (text: string): string | undefined {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return undefined
  }
}

/** The size of a text in UTF-8 bytes. */
export function bytesOf (text: string): number {
  return new TextEncoder().encode(text).length
}

/** The milliseconds since 1970 in an event's own id; undefined for an id of another form. */
export function timeOf (id: string): number | undefined {
  const [, ms] = /^(\d{1,16})-\d{1,16}$/.exec(id) ?? []
  return ms === undefined ? undefined : Number(ms)
}

/** The number in an event's own id. */
export function numberOf (id: string): number | undefined {
  const [, n] = /^\d{1,16}-(\d{1,16})$/.exec(id) ?? []
  return n === undefined ? undefined : Number(n)
}
