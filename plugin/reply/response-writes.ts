import type { Socket } from 'node:net'
import { isGone } from './transport.ts'
import type { RawResponse } from './transport.ts'
import { joinSmall } from './wire.ts'

/**
 * How the bytes of one open response reach Node, and how it is seen that they leave. There is one class for each
 * version of HTTP.
 */
export interface ResponseWrites {
  /** Bytes that wait in this process. */
  readonly waitingBytes: number
  /**
   * Writes bytes. False when Node asks for a pause; `onLeft` is called after a pause, and after each write that
   * `isAwaited`.
   */
  write (bytes: Buffer, isAwaited: boolean): boolean
  /**
   * A value that changes whenever the client has taken bytes, and only then: what is written by us changes nothing.
   * Undefined where there is no real socket. Called at most once in each tick of the heartbeat timer.
   */
  progress (): string | undefined
  /** Calls back as soon as all bytes are with Node, so that what ends the response follows them. */
  end (endResponse: () => void): void
}

/** Starts writing. `onLeft` is called when bytes have left; it has to look at what still waits. */
export function createWrites (res: RawResponse, onLeft: () => void): ResponseWrites {
  return res.stream ? new Http2Writes(res, onLeft) : new Http1Writes(res, onLeft)
}

/**
 * What libuv still holds of the write that is under way. Not public; Node's own time-outs look at it for the same
 * reason.
 */
interface Handle { writeQueueSize?: number, _parent?: Handle | null }

class Http1Writes implements ResponseWrites {
  readonly #res: RawResponse
  readonly #onLeft: () => void

  constructor (res: RawResponse, onLeft: () => void) {
    this.#res = res
    this.#onLeft = onLeft
    res.on('drain', onLeft)
  }

  get waitingBytes (): number { return isGone(this.#res) ? 0 : this.#res.writableLength }

  write (bytes: Buffer, isAwaited: boolean): boolean {
    return isAwaited ? this.#res.write(bytes, this.#onLeft) : this.#res.write(bytes)
  }

  progress (): string | undefined {
    const socket = this.#res.socket as Socket & { _handle?: Handle | null } | null
    if (typeof socket?.bytesWritten !== 'number') return undefined
    // Under TLS the handle holds encrypted records; its parent is the handle of TCP.
    const { _handle: handle } = socket
    return [socket.bytesWritten - socket.writableLength, handle?.writeQueueSize, handle?._parent?.writeQueueSize].join(
      '/'
    )
  }

  end (endResponse: () => void): void { endResponse() }
}

/** Frames up to this many bytes are cheaper copied than written one by one. */
const JOIN_BYTES = 1024
/** As many bytes as in a DATA frame. */
const MIN_PIECE_BYTES = 16 * 1024
/** Larger pieces are no faster. */
const MAX_PIECE_BYTES = 256 * 1024

/**
 * Over HTTP/2 Node reports a write as done only as a whole, and joins all that wait into one, so that nothing is seen
 * of a client that takes a large one slowly. Here one piece after the other is written, and the rest waits in a queue
 * of our own. Pieces are small at first and grow while the client takes them; at each tick at which bytes wait they are
 * small again.
 *
 * ```
 *   write ─▶ queue ─▶ one piece ─▶ Node ─▶ taken? the next one, of up to twice the size
 * ```
 */
class Http2Writes implements ResponseWrites {
  readonly #res: RawResponse
  readonly #onLeft: () => void
  #queue: Buffer[] = []
  #queuedBytes = 0
  #pieceBytes = MIN_PIECE_BYTES
  #piecesTaken = 0
  #isUnderWay = false
  #endResponse: (() => void) | undefined

  constructor (res: RawResponse, onLeft: () => void) {
    this.#res = res
    this.#onLeft = onLeft
  }

  get waitingBytes (): number { return isGone(this.#res) ? 0 : this.#queuedBytes + this.#res.writableLength }

  write (bytes: Buffer): boolean {
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

  /** Called also for what never left, because the client did. */
  readonly #taken = (): void => {
    this.#isUnderWay = false
    this.#piecesTaken++
    this.#pieceBytes = Math.min(MAX_PIECE_BYTES, 2 * this.#pieceBytes)
    if (isGone(this.#res)) this.#queue = []
    else if (this.#queue.length > 0) this.#writePiece()
    this.#onLeft()
  }

  /** Takes as many frames off the queue as fit into a piece, or a part of the first one. */
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
