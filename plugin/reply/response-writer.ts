import { encodeRetry, HEARTBEAT, joinSmall, PREAMBLE } from './wire.ts'
import { createWrites } from './response-writes.ts'
import type { ResponseWrites } from './response-writes.ts'
import { cut, isGone } from './transport.ts'
import type { RawResponse } from './transport.ts'
import { DEFAULT_STALL_MS, STALL_HEARTBEATS, TICKS_PER_HEARTBEAT } from './heartbeat.ts'
import { MAX_TIMER_MS } from '../common/timers.ts'
import type { StreamPolicy } from './stream-policy.ts'
import type { Frame } from './frame.ts'

interface ResponseWriterInit {
  raw: RawResponse
  options: StreamPolicy
  /** Called when the client has taken all that waited, after there was no room. */
  onDrain: () => void
  /**
   * Called when the client has taken no byte for two heartbeats while some waited, and again at each tick after that.
   */
  onStall: () => void
}

/**
 * The way out to one client: the only place that writes to a response. Frames are held until it is opened, and then go
 * straight on.
 *
 * Full means: `highWaterMarkBytes` wait, from a write on that had to wait itself. Node asks for a pause at a mark of
 * its own (16 KiB, and 64 KiB from Node 22 on) although the kernel takes far more, so the bytes decide and not that
 * flag alone.
 */
export class ResponseWriter {
  readonly #init: ResponseWriterInit
  /** Undefined until headers and preamble are out. */
  #writes: ResponseWrites | undefined
  #held: Buffer[] = []
  #heldBytes = 0
  #needDrain = false
  #quietTicks = 0
  /**
   * What the client had taken at the last tick at which bytes waited, and for how many ticks it has taken nothing more.
   */
  #progress: string | undefined
  #stalledTicks = 0
  #events = 0
  #bytes = 0
  #endResponse: () => void

  constructor (init: ResponseWriterInit) {
    this.#init = init
    this.#endResponse = () => { init.raw.end() }
  }

  /** True once headers and preamble are out. */
  get isOpen (): boolean { return this.#writes !== undefined }

  get isFull (): boolean {
    const { highWaterMarkBytes } = this.#init.options
    return this.bufferedBytes >= highWaterMarkBytes && (this.#needDrain || !this.isOpen)
  }

  /** Bytes that wait in this process, those written in this turn of the event loop included. */
  get bufferedBytes (): number { return this.#writes ? this.#writes.waitingBytes : this.#heldBytes }

  /** Events and bytes written so far, those held included. */
  get written (): { events: number, bytes: number } { return { events: this.#events, bytes: this.#bytes } }

  put ({ bytes, events }: Frame): void {
    this.#events += events
    this.#bytes += bytes.length
    this.#quietTicks = 0
    if (this.#writes) return this.#write(this.#writes, bytes)
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
  }

  /** No frame will follow. What is held goes out when it is opened, and makes nobody wait until then. */
  seal (): void { this.#heldBytes = 0 }

  /**
   * Headers, preamble and what is held go out together; `endResponse` replaces ending the response where trailers
   * follow.
   */
  open (endResponse?: () => void): void {
    if (endResponse) this.#endResponse = endResponse
    const first = this.#takeFirst()
    const writes = this.#writes = createWrites(this.#init.raw, this.#left)
    for (const bytes of first) this.#write(writes, bytes)
  }

  /** One tick of the heartbeat timer, while frames may still come. */
  tick (): void {
    // Also a few bytes that stay: an HTTP/2 session may be dead without saying so (Node before 22.23, after a malformed
    // frame).
    if (this.#needDrain || this.bufferedBytes > 0) return this.checkStall()
    this.#progress = undefined
    if (this.#init.options.heartbeatMs === 0) return
    if (++this.#quietTicks >= TICKS_PER_HEARTBEAT) this.put(HEARTBEAT)
  }

  /**
   * One tick at which bytes wait. Progress is what has left this process and nothing else: a time-out of the socket
   * would begin again with each write, and one of HTTP/2 with each byte of any other stream of the session.
   */
  checkStall (): void {
    const progress = this.#writes?.progress()
    if (progress === undefined || progress !== this.#progress) {
      this.#progress = progress
      this.#stalledTicks = 0
    } else if (++this.#stalledTicks >= STALL_HEARTBEATS * TICKS_PER_HEARTBEAT) {
      this.#init.onStall()
    }
  }

  /** Ends the response behind what waits. */
  end (): void {
    const { raw } = this.#init
    if (isGone(raw) || raw.writableEnded) return
    if (this.#writes) this.#writes.end(this.#endResponse)
    else this.#endResponse()
  }

  /** Cuts the connection with what waits; a frozen HTTP/2 peer is given no time where the process is on its way out. */
  cut ({ isShutdown }: { isShutdown: boolean }): void {
    if (!isGone(this.#init.raw)) cut(this.#init.raw, isShutdown ? 0 : this.#stallMs)
  }

  /** Node tells of room only when its own mark was passed; below that the write itself does. */
  #write (writes: ResponseWrites, bytes: Buffer): void {
    const { highWaterMarkBytes } = this.#init.options
    const mayFill = this.#needDrain || writes.waitingBytes + bytes.length >= highWaterMarkBytes
    const isBelowMark = writes.write(bytes, mayFill)
    if (!isBelowMark || writes.waitingBytes >= highWaterMarkBytes) this.#needDrain = true
  }

  /** Called also for what never left, because the client did. */
  readonly #left = (): void => {
    if (!this.#needDrain || isGone(this.#init.raw) || this.bufferedBytes > 0) return
    this.#needDrain = false
    this.#init.onDrain()
  }

  /** How long a client may take no byte at all, in ms. */
  get #stallMs (): number {
    return Math.min(MAX_TIMER_MS, STALL_HEARTBEATS * (this.#init.options.heartbeatMs || DEFAULT_STALL_MS))
  }

  /** Node sends what is written in one turn together; a large frame may be shared by many clients and is not copied. */
  #takeFirst (): Buffer[] {
    const { retryMs } = this.#init.options
    const head = Buffer.concat(retryMs === false ? [PREAMBLE] : [PREAMBLE, encodeRetry(retryMs).bytes])
    const first = joinSmall([head, ...this.#held])
    this.#bytes += head.length
    this.#held = []
    this.#heldBytes = 0
    return first
  }
}
