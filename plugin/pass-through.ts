import { errors } from './errors.ts'
import type { SseStream } from './stream.ts'

const LF = 10
const CR = 13
const BOM = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * Passes an upstream event stream on, in whole blocks only: a heartbeat, an error report or the end of the stream can
 * then never fall inside an event. The block still open when the upstream ends is dropped, as every client would.
 * Throws what the upstream's body throws, and `FST_SSE_UPSTREAM_TOO_LARGE` for a block beyond `maxBufferedBytes`.
 */
export async function passThrough (response: Response, stream: SseStream): Promise<void> {
  if (response.body === null) return
  const reader = response.body.getReader()
  const released = stream.closed.then(() => reader.cancel().catch(() => {}))
  const blocks = new BlockSplitter(stream.maxBufferedBytes)
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const whole = blocks.take(value)
      if (whole.length > 0 && !(await stream.sendFrame(whole, 0))) return await released
    }
  } catch (error) {
    // A body that fails because it was cancelled is no error.
    if (stream.isOpen) throw error
  } finally {
    if (stream.isOpen) await reader.cancel().catch(() => {})
  }
}

/** Cuts a byte stream behind its last blank line; what follows waits for more. */
export class BlockSplitter {
  readonly #maxBytes: number
  #rest: Buffer = Buffer.alloc(0)
  #isFirst = true

  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Adds a chunk and returns the whole blocks there are now, possibly none. */
  take (chunk: Uint8Array): Buffer {
    let bytes = Buffer.concat([this.#rest, chunk])
    if (this.#isFirst && bytes.length < BOM.length) {
      this.#rest = bytes
      return bytes.subarray(0, 0)
    }
    // A byte order mark counts at the very start only, and our own preamble stands there.
    if (this.#isFirst && bytes.subarray(0, BOM.length).equals(BOM)) bytes = bytes.subarray(BOM.length)
    this.#isFirst = false
    const end = blockEnd(bytes)
    this.#rest = bytes.subarray(end)
    if (this.#rest.length > this.#maxBytes) throw new errors.FST_SSE_UPSTREAM_TOO_LARGE(this.#maxBytes)
    return bytes.subarray(0, end)
  }
}

/** Offset behind the last blank line (two line ends in a row, each CR, LF or CR LF), or 0. */
function blockEnd (bytes: Buffer): number {
  for (let at = bytes.length - 1; at > 0; at--) {
    const lineStart = previousLineEnd(bytes, at)
    if (lineStart > 0 && isLineEnd(bytes[lineStart - 1])) return at + 1
  }
  return 0
}

/** If a line end finishes at `at`, the offset where it begins; else 0. */
function previousLineEnd (bytes: Buffer, at: number): number {
  if (!isLineEnd(bytes[at])) return 0
  return bytes[at] === LF && bytes[at - 1] === CR ? at - 1 : at
}

function isLineEnd (byte: number | undefined): boolean {
  return byte === LF || byte === CR
}
