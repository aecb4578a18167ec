import { ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { createFrame } from '../frame.ts'
import type { Frame } from '../frame.ts'
import { EventLoopTurns } from './event-loop-turns.ts'
import type { ResponseWrites } from './response-writes.ts'
import { isGone } from './transport.ts'
import type { RawResponse } from './transport.ts'

/** The process has one event loop. */
const turns = new EventLoopTurns()

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
export class Http1Writes implements ResponseWrites {
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
    const turn = turns.current()
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
