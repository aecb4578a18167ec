/** Precedes the stamp at the start of the data of each event, and occurs nowhere else in a stream. */
export const MARK = '~'
const MARK_CODE = MARK.charCodeAt(0)
const SPACE = 0x20
const ZERO = 0x30

/** The data of one event: the time as a stamp in ns, and padding up to `bytes`, which may look like JSON. */
export function stampedData (bytes: number, isJson = false): string {
  const stamp = `${MARK}${process.hrtime.bigint()} `
  return isJson ? stamp + jsonOf(bytes - stamp.length) : stamp.padEnd(bytes, 'x')
}

/** Records of a kind, as an application would publish them: names repeat and values do not. */
function jsonOf (bytes: number): string {
  let text = ''
  while (text.length < bytes) {
    const [price, size] = [(Math.random() * 1e3).toFixed(2), Math.floor(Math.random() * 1e4)]
    text += JSON.stringify({ symbol: Math.random().toString(36).slice(2, 6), price, size, side: 'buy', venue: 'XETR' })
  }
  return text.slice(0, bytes)
}

/** Counts events in the chunks of one stream. */
export class EventCounter {
  readonly #measures: boolean

  /** Reads the stamps only if `measures` is true, because that costs more than counting. */
  constructor (measures: boolean) {
    this.#measures = measures
  }

  /**
   * Returns the number of events that start in this chunk. Calls `onLatency` with the age in ms of each event whose
   * stamp is complete.
   */
  count (chunk: Buffer, onLatency: (ms: number) => void): number {
    let count = 0
    const nowNs = this.#measures ? Number(process.hrtime.bigint()) : 0
    for (let at = chunk.indexOf(MARK_CODE); at !== -1; at = chunk.indexOf(MARK_CODE, at + 1)) {
      count++
      if (!this.#measures) continue
      const sentNs = readNumber(chunk, at + 1)
      if (sentNs !== undefined) onLatency((nowNs - sentNs) / 1e6)
    }
    return count
  }
}

function readNumber (chunk: Buffer, from: number): number | undefined {
  let value = 0
  for (let at = from; at < chunk.length; at++) {
    if (chunk[at] === SPACE) return value
    value = value * 10 + chunk[at]! - ZERO
  }
  return undefined
}
