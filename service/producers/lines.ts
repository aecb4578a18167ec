import { isUtf8 } from 'node:buffer'
import { errors } from '../errors.ts'

/** A line without its line break, numbered from 1; `bytes` includes the line break. */
export interface Line { number: number, text: string, bytes: number }

const LF = 0x0a
const CR = 0x0d
const FIRST_BYTES = 256

/**
 * Splits a body into lines as it arrives; LF and CR LF end a line. Only the line that is not complete is kept, in one
 * buffer: a client may send one byte per chunk, and each chunk kept separately would cost several hundred bytes.
 */
export class LineSplitter {
  readonly #maxBytes: number
  readonly #limitName: string
  #buffer = Buffer.alloc(0)
  #filled = 0
  #number = 0

  /** A line has at most `maxBytes`; errors call this limit `limitName`. */
  constructor (maxBytes: number, limitName: string) {
    this.#maxBytes = maxBytes
    this.#limitName = limitName
  }

  /** Yields the lines that a chunk completes. Throws for a line that is too long, or is not UTF-8. */
  * add (chunk: Buffer): Generator<Line, void> {
    let from = 0
    for (let at = chunk.indexOf(LF); at !== -1; at = chunk.indexOf(LF, from)) {
      this.#keep(chunk.subarray(from, at))
      from = at + 1
      yield this.#take(1)
    }
    this.#keep(chunk.subarray(from))
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
    const bytes = this.#filled + breakBytes
    const end = this.#buffer[this.#filled - 1] === CR ? this.#filled - 1 : this.#filled
    const line = this.#buffer.subarray(0, end)
    if (line.length > this.#maxBytes) this.#refuse()
    if (!isUtf8(line)) throw new errors.SERVICE_BAD_LINE(this.#number, 'UTF-8', 'other bytes')
    const text = line.toString()
    this.#filled = 0
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
