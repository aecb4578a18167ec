import { encodeRetry, HEARTBEAT, PREAMBLE } from '../wire.ts'
import { GzipBody } from '../gzip/gzip-body.ts'
import { Http1Writes } from './http1-writes.ts'
import { Http2Writes } from './http2-writes.ts'
import type { ResponseWrites } from './response-writes.ts'
import { breakOff, cut, isGone, shareHead } from './transport.ts'
import type { RawResponse } from './transport.ts'
import { DEFAULT_STALL_MS, STALL_HEARTBEATS, TICKS_PER_HEARTBEAT } from '../stream/heartbeat.ts'
import { MAX_TIMER_MS } from '../../common/timers.ts'
import type { StreamPolicy } from '../stream/stream-policy.ts'
import { joinSmallFrames, sizeOf } from '../frame.ts'
import type { Frame } from '../frame.ts'

/**
 * The output to one client; everything written to its response passes through it. Frames are held until it is opened,
 * and then written directly.
 *
 * Full means that `highWaterMarkBytes` are pending, beginning with a write that itself had to wait. Node asks for a
 * pause at a mark of its own (16 KiB, and 64 KiB from Node 22 on) although the kernel accepts far more, so the bytes
 * decide and not that flag alone.
 */
export class ResponseWriter {
  readonly #raw: RawResponse
  readonly #options: StreamPolicy
  readonly #gzipMinBytes: number | undefined
  readonly #onDrain: () => void
  /** Undefined until headers and preamble were sent. */
  #writes: ResponseWrites | undefined
  #held: Frame[] | undefined = []
  #heldBytes = 0
  #needDrain = false
  #quietTicks = 0
  /** What the client had received at the last tick with pending bytes, and for how many ticks that has not changed. */
  #progress: string | undefined
  #stalledTicks = 0
  #events = 0
  #bytes = 0
  #endResponse: (() => void) | undefined
  /** Undefined until the response is opened, and where it is not compressed. */
  #gzip: GzipBody | undefined

  /**
   * `gzipMinBytes` as in `StreamInit`; `onDrain` is called when the buffer has drained after it was full.
   */
  constructor (raw: RawResponse, options: StreamPolicy, gzipMinBytes: number | undefined, onDrain: () => void) {
    this.#raw = raw
    this.#options = options
    this.#gzipMinBytes = gzipMinBytes
    this.#onDrain = onDrain
  }

  /** True once headers and preamble were sent. */
  get isOpen (): boolean { return this.#writes !== undefined }

  get isFull (): boolean {
    // In this order: to count the bytes is expensive, and most buffers are empty.
    return (this.#needDrain || !this.isOpen) && this.bufferedBytes >= this.#options.highWaterMarkBytes
  }

  /** Bytes pending in this process, including those written in the current tick of the event loop. */
  get bufferedBytes (): number { return this.#writes ? this.#writes.waitingBytes : this.#heldBytes }

  /** Events and bytes written so far, those held included; bytes as they go out, once the response is open. */
  get written (): { events: number, bytes: number } { return { events: this.#events, bytes: this.#bytes } }

  /** Bytes that a frame has on the wire. */
  sizeOf (frame: Frame): number { return this.#gzip ? this.#gzip.sizeOf(frame) : sizeOf(frame) }

  put (frame: Frame): void {
    this.#events += frame.events
    this.#quietTicks = 0
    if (this.#writes) return this.#write(this.#writes, this.#gzip ? this.#gzip.next(frame) : frame)
    this.#held!.push(frame)
    this.#bytes += sizeOf(frame)
    this.#heldBytes += sizeOf(frame)
  }

  /** No more frames follow. Held frames are sent on open and no longer count as buffered. */
  seal (): void { this.#heldBytes = 0 }

  /**
   * Sends headers, preamble and held frames together; `endResponse` replaces ending the response if trailers follow.
   */
  open (endResponse?: () => void): void {
    const raw = this.#raw
    const gzipMinBytes = this.#gzipMinBytes
    this.#endResponse = endResponse
    // A hook may have removed the header that `reply.sse()` has set.
    const isGzip = gzipMinBytes !== undefined && raw.getHeader('content-encoding') === 'gzip'
    this.#gzip = isGzip ? new GzipBody(gzipMinBytes) : undefined
    const first = this.#takeFirst()
    const writes = this.#writes = raw.stream ? new Http2Writes(raw, this.#left) : new Http1Writes(raw, this.#left)
    for (const frame of first) this.#write(writes, this.#gzip ? this.#gzip.next(frame) : frame)
    shareHead(raw)
  }

  /** One tick of the heartbeat timer, while frames may still come. True when the client has stalled. */
  tick (): boolean {
    // Also for a few bytes that remain: an HTTP/2 session may be dead without any sign (before Node 22.23, after a
    // malformed frame).
    if (this.#needDrain || this.bufferedBytes > 0) return this.checkStall()
    this.#progress = undefined
    if (this.#options.heartbeatMs > 0 && ++this.#quietTicks >= TICKS_PER_HEARTBEAT) this.put(HEARTBEAT)
    return false
  }

  /**
   * One tick with pending bytes. Only bytes that leave the process count as progress: a timeout of the socket would
   * begin again with each write, and one of HTTP/2 with each byte of any other stream of the session. True when the
   * client has taken no byte for two heartbeats, and again at each tick after that.
   */
  checkStall (): boolean {
    const progress = this.#writes?.progress()
    if (progress === undefined || progress !== this.#progress) {
      this.#progress = progress
      this.#stalledTicks = 0
      return false
    }
    return ++this.#stalledTicks >= STALL_HEARTBEATS * TICKS_PER_HEARTBEAT
  }

  /** Ends the response after all pending bytes. */
  end (): void {
    const raw = this.#raw
    if (isGone(raw) || raw.writableEnded) return
    const endResponse = this.#endResponse ?? (() => { raw.end() })
    if (this.#writes && this.#gzip) this.#write(this.#writes, this.#gzip.end())
    if (this.#writes) this.#writes.end(endResponse)
    else endResponse()
  }

  /** Ends the response after all pending bytes, in such a way that the client treats it as incomplete. */
  breakOff (): void {
    const raw = this.#raw
    if (!isGone(raw)) this.#writes?.flush(() => breakOff(raw, this.#stallMs))
  }

  /**
   * Closes the connection and drops pending bytes; if the process is shutting down, a frozen HTTP/2 peer gets no extra
   * time.
   */
  cut ({ isShutdown }: { isShutdown: boolean }): void {
    if (!isGone(this.#raw)) cut(this.#raw, isShutdown ? 0 : this.#stallMs)
  }

  /** Node reports room only after its own mark was exceeded; below that, the write itself does. */
  #write (writes: ResponseWrites, frame: Frame): void {
    const { highWaterMarkBytes } = this.#options
    this.#bytes += sizeOf(frame)
    const mayFill = this.#needDrain || writes.waitingBytes + sizeOf(frame) >= highWaterMarkBytes
    const isBelowMark = writes.write(frame, mayFill)
    if (!isBelowMark || (mayFill && writes.waitingBytes >= highWaterMarkBytes)) this.#needDrain = true
  }

  /** Also called for bytes that were never sent because the client disconnected. */
  readonly #left = (): void => {
    if (!this.#needDrain || isGone(this.#raw) || this.bufferedBytes > 0) return
    this.#needDrain = false
    this.#onDrain()
  }

  /** How long a client may read nothing at all, in ms. */
  get #stallMs (): number {
    return Math.min(MAX_TIMER_MS, STALL_HEARTBEATS * (this.#options.heartbeatMs || DEFAULT_STALL_MS))
  }

  /**
   * Node sends everything written in one tick together; a large frame may be shared by many clients and is not copied.
   */
  #takeFirst (): Frame[] {
    const { retryMs } = this.#options
    const head = { bytes: PREAMBLE, events: 0 }
    const first = joinSmallFrames([head, ...(retryMs === false ? [] : [encodeRetry(retryMs)]), ...this.#held!])
    // Each is counted as it is written.
    this.#bytes = 0
    this.#held = undefined
    this.#heldBytes = 0
    return first
  }
}
