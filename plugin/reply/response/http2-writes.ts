import type { Frame } from '../frame.ts'
import { joinSmall } from '../wire.ts'
import type { ResponseWrites } from './response-writes.ts'
import { isGone } from './transport.ts'
import type { RawResponse } from './transport.ts'

/** Frames of up to this many bytes are cheaper to copy than to write separately. */
const JOIN_BYTES = 1024
/** The size of a DATA frame. */
const MIN_PIECE_BYTES = 16 * 1024
/** Larger pieces are not faster. */
const MAX_PIECE_BYTES = 256 * 1024

/**
 * Over HTTP/2 Node reports a write as done only as a whole, and joins all pending ones into one, so a client that
 * slowly receives a large write looks idle. Here one piece after another is written, and the rest waits in our own
 * queue. Pieces start small and grow while the client receives them; at each tick with pending bytes they become small
 * again.
 *
 * ```
 *   write ─▶ queue ─▶ one piece ─▶ Node ─▶ sent? the next one, of up to twice the size
 * ```
 */
export class Http2Writes implements ResponseWrites {
  readonly #res: RawResponse
  readonly #onLeft: () => void
  #queue: Buffer[] = []
  #queuedBytes = 0
  #pieceBytes = MIN_PIECE_BYTES
  #piecesTaken = 0
  #isUnderWay = false
  #endResponse: (() => void) | undefined
  #onFlushed: (() => void) | undefined

  constructor (res: RawResponse, onLeft: () => void) {
    this.#res = res
    this.#onLeft = onLeft
  }

  get waitingBytes (): number { return isGone(this.#res) ? 0 : this.#queuedBytes + this.#res.writableLength }

  write ({ bytes }: Frame): boolean {
    if (bytes.length > 0) this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    if (!this.#isUnderWay && this.#queue.length > 0) this.#writePiece()
    return true
  }

  progress (): string {
    this.#pieceBytes = MIN_PIECE_BYTES
    return String(this.#piecesTaken)
  }

  end (endResponse: () => void): void {
    if (this.#queue.length > 0) this.#endResponse = endResponse
    else endResponse()
  }

  /** A reset drops whatever the client has not received yet, so it waits for that. */
  flush (done: () => void): void {
    if (this.#isUnderWay) this.#onFlushed = done
    else done()
  }

  #writePiece (): void {
    const frames = joinSmall(this.#takePiece(), JOIN_BYTES)
    const last = frames.pop()!
    const { stream } = this.#res
    this.#isUnderWay = true
    if (frames.length > 0) stream!.cork()
    for (const frame of frames) this.#res.write(frame)
    this.#res.write(last, this.#taken)
    if (frames.length > 0) stream!.uncork()
    if (this.#queue.length === 0) this.#endResponse?.()
  }

  /** Also called for bytes that were never sent because the client disconnected. */
  readonly #taken = (): void => {
    this.#isUnderWay = false
    this.#piecesTaken++
    this.#pieceBytes = Math.min(MAX_PIECE_BYTES, 2 * this.#pieceBytes)
    if (isGone(this.#res)) this.#queue = []
    else if (this.#queue.length > 0) this.#writePiece()
    else this.#onFlushed?.()
    this.#onLeft()
  }

  /** Takes as many frames from the queue as fit into a piece, or a part of the first one. */
  #takePiece (): Buffer[] {
    if (this.#queuedBytes <= this.#pieceBytes) return this.#takeAll()
    let bytes = 0
    let count = 0
    while (bytes + this.#queue[count]!.length <= this.#pieceBytes) bytes += this.#queue[count++]!.length
    if (count === 0) return this.#cutFirst()
    this.#queuedBytes -= bytes
    return this.#queue.splice(0, count)
  }

  #takeAll (): Buffer[] {
    const all = this.#queue
    this.#queue = []
    this.#queuedBytes = 0
    return all
  }

  #cutFirst (): Buffer[] {
    const first = this.#queue[0]!
    this.#queue[0] = first.subarray(this.#pieceBytes)
    this.#queuedBytes -= this.#pieceBytes
    return [first.subarray(0, this.#pieceBytes)]
  }
}
