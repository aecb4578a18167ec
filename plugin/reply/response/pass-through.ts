import { errors } from '../errors.ts'
import { iterate } from './pump.ts'
import { isMany } from '../source-kind.ts'
import type { ResponseLike } from '../source-kind.ts'
import type { SseStream } from '../stream/sse-stream.ts'

const LF = 10
const CR = 13
const BOM = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * Forwards an upstream event stream in complete blocks only, so that a heartbeat, an error report or the end of the
 * stream can never occur inside an event. The block that is incomplete when the upstream ends is dropped, as every
 * client would. Throws the error of the upstream's body, or `FST_SSE_UPSTREAM_TOO_LARGE` for a block larger than
 * `maxBufferedBytes`.
 */
export async function passThrough ({ body }: ResponseLike, stream: SseStream): Promise<void> {
  if (!isMany(body)) return
  const upstream = iterate(body)
  const released = stream.closed.then(() => upstream.return?.()).then(() => {}, () => {})
  const blocks = new BlockSplitter(stream.maxBufferedBytes)
  for (;;) {
    const { done, value } = await upstream.next()
    if (done) return
    const whole = blocks.take(value as Uint8Array)
    if (whole.length > 0 && !(await stream.sendFrame({ bytes: whole, events: 0 }))) return released
  }
}

/**
 * Splits a byte stream after its last blank line; the rest waits for more data. Each byte is copied and inspected a
 * bounded number of times.
 */
export class BlockSplitter {
  readonly #maxBytes: number
  #buffer = Buffer.alloc(0)
  #length = 0
  #isFirst = true

  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Adds a chunk and returns the blocks that are complete now, possibly none. */
  take (chunk: Uint8Array): Buffer {
    const seen = this.#isFirst ? 0 : this.#length
    this.#append(chunk)
    if (this.#isFirst && !this.#dropMark()) return Buffer.alloc(0)
    const end = blockEnd(this.#buffer.subarray(0, this.#length), seen)
    const whole = Buffer.from(this.#buffer.subarray(0, end))
    this.#dropStart(end)
    if (this.#length > this.#maxBytes) throw new errors.FST_SSE_UPSTREAM_TOO_LARGE(this.#maxBytes)
    return whole
  }

  #append (chunk: Uint8Array): void {
    const length = this.#length + chunk.length
    if (length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(length, 2 * this.#buffer.length))
      this.#buffer.copy(larger, 0, 0, this.#length)
      this.#buffer = larger
    }
    this.#buffer.set(chunk, this.#length)
    this.#length = length
  }

  /**
   * A byte order mark is only valid at the very start, where our own preamble is. Returns false while the bytes may
   * still be one.
   */
  #dropMark (): boolean {
    if (this.#length < BOM.length) return false
    if (this.#buffer.subarray(0, BOM.length).equals(BOM)) this.#dropStart(BOM.length)
    this.#isFirst = false
    return true
  }

  #dropStart (bytes: number): void {
    this.#buffer.copyWithin(0, bytes, this.#length)
    this.#length -= bytes
  }
}

/**
 * Offset after the last blank line (two consecutive line ends, each CR, LF or CR LF) that ends at `from` or later, or
 * 0.
 */
function blockEnd (bytes: Buffer, from: number): number {
  for (let at = bytes.length - 1; at >= Math.max(1, from); at--) {
    const lineStart = previousLineEnd(bytes, at)
    if (lineStart > 0 && isLineEnd(bytes[lineStart - 1])) return at + 1
  }
  return 0
}

/** The offset at which a line end starts that ends at `at`; 0 if there is none. */
function previousLineEnd (bytes: Buffer, at: number): number {
  if (!isLineEnd(bytes[at])) return 0
  return bytes[at] === LF && bytes[at - 1] === CR ? at - 1 : at
}

function isLineEnd (byte: number | undefined): boolean {
  return byte === LF || byte === CR
}
