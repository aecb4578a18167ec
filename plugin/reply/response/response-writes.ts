import { ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { createFrame } from '../frame.ts'
import type { Frame } from '../frame.ts'
import { isGone } from './transport.ts'
import type { RawResponse } from './transport.ts'
import { joinSmall } from '../wire.ts'

/**
 * Passes the bytes of one open response to Node, and observes whether they are sent. There is one class for each
 * version of HTTP.
 */
export interface ResponseWrites {
  /** Bytes pending in this process. */
  readonly waitingBytes: number
  /**
   * Writes a frame. Returns false if Node asks for a pause; `onLeft` is called after a pause, and after each write with
   * `isAwaited`.
   */
  write (frame: Frame, isAwaited: boolean): boolean
  /**
   * A value that changes exactly when the client has received bytes: writing does not change it. Undefined if there is
   * no real socket. Called at most once per tick of the heartbeat timer.
   */
  progress (): string | undefined
  /** Calls back as soon as all bytes were passed to Node, so that the end of the response follows them. */
  end (endResponse: () => void): void
  /** Calls back when bytes that were written would be sent before the connection is cut. */
  flush (done: () => void): void
}

/** Starts writing. `onLeft` is called when bytes were sent; it must check how many are still pending. */
export function createWrites (res: RawResponse, onLeft: () => void): ResponseWrites {
  return res.stream ? new Http2Writes(res, onLeft) : new Http1Writes(res, onLeft)
}

/**
 * The bytes of the current write that libuv still holds. Not public, but Node's own time-outs use it for the same
 * purpose.
 */
interface Handle { writeQueueSize?: number, _parent?: Handle | null }

/** Frames of a single stream, up to this many bytes, are cheaper to copy into a chunk than to write in parts. */
const COPY_BYTES = 4096

/**
 * `response.write()` writes each chunk in three parts: its size, the bytes, and CRLF. A chunk that is already framed,
 * and usually shared by many clients, is written to the socket directly instead. That is possible while the response is
 * the socket's current one and holds nothing back itself.
 */
class Http1Writes implements ResponseWrites {
  readonly #res: RawResponse
  readonly #onLeft: () => void
  #turn = -1

  constructor (res: RawResponse, onLeft: () => void) {
    this.#res = res
    this.#onLeft = onLeft
    res.on('drain', onLeft)
  }

  get waitingBytes (): number { return isGone(this.#res) ? 0 : this.#res.writableLength }

  write (frame: Frame, isAwaited: boolean): boolean {
    const { chunk = createFrame([frame.bytes], frame.events, COPY_BYTES).chunk } = frame
    const socket = chunk && directSocket(this.#res)
    if (socket) return this.#writeChunk(socket, chunk!, isAwaited)
    return isAwaited ? this.#res.write(frame.bytes, this.#onLeft) : this.#res.write(frame.bytes)
  }

  progress (): string | undefined {
    const socket = this.#res.socket as Socket & { _handle?: Handle | null } | null
    if (typeof socket?.bytesWritten !== 'number') return undefined
    // With TLS the handle holds encrypted records; its parent is the TCP handle.
    const { _handle: handle } = socket
    return [socket.bytesWritten - socket.writableLength, handle?.writeQueueSize, handle?._parent?.writeQueueSize].join(
      '/'
    )
  }

  end (endResponse: () => void): void { endResponse() }

  /**
   * The socket sends everything it holds before it closes, but from Node 26 on the response keeps what was written in
   * this tick until the next one.
   */
  flush (done: () => void): void { process.nextTick(done) }

  /**
   * The response's own 'drain' follows only its own writes: if the socket asks for a pause, the callback of the write
   * reports the end of it.
   */
  #writeChunk (socket: Socket, parts: readonly Buffer[], isAwaited: boolean): boolean {
    this.#joinTurn(socket)
    if (parts.length === 1) return this.#writePart(socket, parts[0]!, isAwaited)
    socket.cork()
    const areBelowMark = parts.map((part, at) => this.#writePart(socket, part, isAwaited && at === parts.length - 1))
    socket.uncork()
    return areBelowMark.at(-1)!
  }

  #writePart (socket: Socket, part: Buffer, isAwaited: boolean): boolean {
    const isBelowMark = socket.writableLength + part.length < socket.writableHighWaterMark
    return isAwaited || !isBelowMark ? socket.write(part, this.#onLeft) : socket.write(part)
  }

  /** The first chunk in a tick is sent immediately, and further ones in the same tick are sent together. */
  #joinTurn (socket: Socket): void {
    const turn = currentTurn()
    if (turn === this.#turn && socket.writableCorked === 0) {
      socket.cork()
      process.nextTick(uncork, socket)
    }
    this.#turn = turn
  }
}

function uncork (socket: Socket): void { socket.uncork() }

/** Undefined if only the response itself can write: HTTP/1.0, `inject()`, or a `write` method of other code. */
function directSocket (res: RawResponse): Socket | undefined {
  const { socket } = res
  const isDirect =
    socket instanceof Socket &&
    socket.writable &&
    res.chunkedEncoding &&
    !res.writableEnded &&
    res.write === ServerResponse.prototype.write &&
    res.writableLength === socket.writableLength
  return isDirect ? socket : undefined
}

let turns = 0
let isTurnCounted = false

/** A number that differs in each tick of the event loop in which it is requested. */
function currentTurn (): number {
  if (!isTurnCounted) {
    isTurnCounted = true
    setImmediate(endTurn)
  }
  return turns
}

function endTurn (): void {
  isTurnCounted = false
  turns++
}

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
class Http2Writes implements ResponseWrites {
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
