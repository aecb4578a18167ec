import { isUtf8 } from 'node:buffer'
import { errors } from '../errors.ts'

/** A line without its line break, numbered from 1; `bytes` includes the line break. */
export interface Line { number: number, text: string, bytes: number }

const LF = 0x0a
const CR = 0x0d
const FIRST_BYTES = 256

export interface LineSplitterInit {
  maxBytes: number
  /** The configuration variable of that limit, for errors. */
  limitName: string
  /** CR alone ends a line too, as in an event stream (WHATWG HTML, 9.2.5). */
  breaksAtCr?: boolean | undefined
}

/**
 * Splits a body into lines as it arrives; LF and CR LF end a line. Only the line that is not complete is kept, in one
 * buffer: a client may send one byte per chunk, and each chunk kept separately would cost several hundred bytes.
 */
export class LineSplitter {
  readonly #maxBytes: number
  readonly #limitName: string
  readonly #breaksAtCr: boolean
  #buffer = Buffer.alloc(0)
  #filled = 0
  #number = 0
  /** The last byte was a CR that ended a line: an LF after it belongs to the same line break. */
  #isAfterCr = false
  /** Bytes of line breaks that came after their line was taken; the next line counts them. */
  #late = 0

  constructor ({ maxBytes, limitName, breaksAtCr = false }: LineSplitterInit) {
    this.#maxBytes = maxBytes
    this.#limitName = limitName
    this.#breaksAtCr = breaksAtCr
  }

  /** Yields the lines that a chunk completes. Throws for a line that is too long, or is not UTF-8. */
  * add (chunk: Buffer): Generator<Line, void> {
    let from = 0
    for (let at = this.#breakIn(chunk, 0); at !== -1; at = this.#breakIn(chunk, from)) {
      const isSecondHalf = this.#isAfterCr && at === from && chunk[at] === LF
      this.#isAfterCr = this.#breaksAtCr && chunk[at] === CR
      if (isSecondHalf) this.#late++
      else this.#keep(chunk.subarray(from, at))
      from = at + 1
      if (!isSecondHalf) yield this.#take(1)
    }
    if (from < chunk.length) this.#isAfterCr = false
    this.#keep(chunk.subarray(from))
  }

  /** The position of the next line break; -1 if there is none. */
  #breakIn (chunk: Buffer, from: number): number {
    if (!this.#breaksAtCr) return chunk.indexOf(LF, from)
    for (let at = from; at < chunk.length; at++) if (chunk[at] === LF || chunk[at] === CR) return at
    return -1
  }

  /** Yields the last line when it has no line break. */
  * end (): Generator<Line, void> {
    if (this.#filled > 0) yield this.#take(0)
  }

  #keep (part: Buffer): void {
    const bytes = this.#filled + part.length
    // One more for the CR before the line break.
    if (bytes > this.#maxBytes + 1) this.#refuse()
    if (bytes > this.#buffer.length) this.#grow(bytes)
    part.copy(this.#buffer, this.#filled)
    this.#filled = bytes
  }

  #take (breakBytes: number): Line {
    this.#number++
    const bytes = this.#late + this.#filled + breakBytes
    const end = this.#buffer[this.#filled - 1] === CR ? this.#filled - 1 : this.#filled
    const line = this.#buffer.subarray(0, end)
    if (line.length > this.#maxBytes) this.#refuse()
    if (!isUtf8(line)) throw new errors.SERVICE_BAD_LINE(this.#number, 'UTF-8', 'other bytes')
    const text = line.toString()
    this.#filled = 0
    this.#late = 0
    // A long line is rare: its buffer does not stay for the rest of the body.
    if (this.#buffer.length > 64 * FIRST_BYTES) this.#buffer = Buffer.alloc(0)
    return { number: this.#number, text, bytes }
  }

  #grow (bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, bytes, 2 * this.#buffer.length))
    this.#buffer.copy(larger, 0, 0, this.#filled)
    this.#buffer = larger
  }

  #refuse (): never {
    throw new errors.SERVICE_LINE_TOO_LONG(this.#number + 1, this.#maxBytes, this.#limitName)
  }
}
