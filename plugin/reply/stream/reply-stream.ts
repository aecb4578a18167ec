import { encodeComment, encodeRetry, FINAL_FRAME } from '../wire.ts'
import { closeWithConnection, isGone, isQueued, prepareListeners } from '../response/transport.ts'
import type { Ticking } from './heartbeat.ts'
import type { AnyEvents, SseEvent, SseEvents } from '../events.ts'
import type { Frame } from '../frame.ts'
import { StreamEnd } from './stream-end.ts'
import type { SseStream } from './sse-stream.ts'
import type { CloseReason, StreamInit, StreamOwner } from './stream-init.ts'
import { ResponseWriter } from '../response/response-writer.ts'
import { WriteQueue } from './write-queue.ts'

const NO_TOPICS: readonly string[] = []

/**
 * The stream of one response.
 *
 * ```
 *   pending ──attach──▶ open ──close(reason)──▶ closed     (closed is also reached from pending)
 *      frames wait        frames go to the response          pending bytes are flushed, then the response ends
 * ```
 */
export class ReplyStream<E extends SseEvents = AnyEvents> implements SseStream<E>, Ticking {
  readonly lastEventId: string | undefined

  #state: 'pending' | 'open' | 'closed' = 'pending'
  readonly #end = new StreamEnd()
  readonly #writer: ResponseWriter
  /** Undefined until somebody waits for room. */
  #queue: WriteQueue | undefined
  #lifetime: NodeJS.Timeout | undefined
  #attachedAtMs = 0
  #topics: readonly string[] = NO_TOPICS
  #control: 'in-band' | 'none' = 'in-band'
  #isBroken = false
  readonly #init: StreamInit

  constructor (init: StreamInit) {
    this.#init = init
    this.lastEventId = init.lastEventId
    this.#writer = new ResponseWriter(init.raw, init.options, init.gzipMinBytes, () => this.#admit())
  }

  /**
   * Starts to watch the connection; if the client has already disconnected, the stream ends here. Called once, by its
   * creator.
   */
  listen (): void {
    const { raw } = this.#init
    prepareListeners(raw)
    if (isGone(raw)) return this.#close('client', false)
    // `once` would take twice the memory for as long as the stream lasts.
    raw.on('close', () => this.#gone())
    if (isQueued(raw)) closeWithConnection(raw)
  }

  get isOpen (): boolean { return this.#state !== 'closed' }

  get isFull (): boolean { return this.#queue?.hasFrames === true || this.#writer.isFull }

  get bufferedBytes (): number { return this.#writer.bufferedBytes }

  get maxBufferedBytes (): number { return this.#init.options.maxBufferedBytes }

  get written (): { events: number, bytes: number } { return this.#writer.written }

  get owner (): StreamOwner | undefined { return this.#init.owner }

  get ageMs (): number { return this.#attachedAtMs === 0 ? 0 : performance.now() - this.#attachedAtMs }

  get closeReason (): CloseReason | undefined { return this.#end.reason }

  get topics (): readonly string[] { return this.#topics }

  checkTopics (topics: string | readonly string[]): void {
    const named = typeof topics === 'string' ? [topics] : topics
    this.#init.checkTopics(named)
    const added = named.filter((topic, at) => !this.#topics.includes(topic) && named.indexOf(topic) === at)
    if (added.length > 0) this.#topics = this.#topics.concat(added)
  }

  get control (): 'in-band' | 'none' { return this.#control }

  omitControl (): void { this.#control = 'none' }

  get signal (): AbortSignal { return this.#end.signal }

  get closed (): Promise<CloseReason> { return this.#end.closed }

  whenClosed (callback: () => void): void { this.#end.whenClosed(callback) }

  async send (event: SseEvent<E>): Promise<boolean> {
    return this.#state !== 'closed' && this.sendFrame(this.#frameOf(event))
  }

  sendFrame (frame: Frame): Promise<boolean> {
    if (this.#isOver()) return Promise.resolve(false)
    if (this.isFull) return this.#waiting.frame(frame)
    this.#writer.put(frame)
    return Promise.resolve(true)
  }

  push (event: SseEvent<E>): boolean {
    return this.#state !== 'closed' && this.write(this.#frameOf(event))
  }

  write (frame: Frame): boolean {
    if (this.#isOver()) return false
    // While there is room, a frame of any size is accepted: an event is never cut, and never rejected here for its own
    // size.
    if (this.#writer.isFull && this.bufferedBytes + this.#writer.sizeOf(frame) > this.#init.options.maxBufferedBytes) {
      return this.#overflow()
    }
    this.#writer.put(frame)
    return true
  }

  comment (text: string): boolean {
    return this.write(encodeComment(text))
  }

  room (): Promise<boolean> {
    if (this.#state === 'closed') return Promise.resolve(false)
    if (!this.isFull) return Promise.resolve(true)
    return this.#waiting.room()
  }

  end (last?: SseEvent<E>): void {
    this.close('end', last)
  }

  close (reason: CloseReason, last?: SseEvent<E>): void {
    if (this.#state === 'closed') return
    if (last !== undefined) this.#writer.put(this.#frameOf(last))
    if (reason === 'end' && this.#init.options.final && this.#control === 'in-band') this.#writer.put(FINAL_FRAME)
    this.#close(reason, reason === 'slow')
  }

  breakOff (): void {
    if (this.#state === 'closed') return
    this.#isBroken = true
    this.#close('end', false)
  }

  endWith (last: Frame): void {
    if (this.#state === 'closed') return
    this.#writer.put(last)
    this.close('end')
  }

  closeWithRetry (reason: CloseReason, retryMs: number): void {
    if (this.#state === 'closed') return
    this.#writer.put(encodeRetry(retryMs))
    this.#close(reason, false)
  }

  destroy (reason: CloseReason): void {
    if (this.#state === 'closed') this.#cut(reason)
    else this.#close(reason, true)
  }

  /**
   * Starts writing to the response: headers, preamble and waiting frames are sent together. Called once, by the
   * payload; `endResponse` replaces ending the response if trailers follow.
   */
  attach (endResponse?: () => void): void {
    this.#attachedAtMs = performance.now()
    this.#init.onAttach()
    this.#writer.open(endResponse)
    const { reason } = this.#end
    if (reason !== undefined) {
      this.#finish()
      return this.#init.onOver(reason)
    }
    this.#state = 'open'
    this.#startLifetime()
    this.#admit()
  }

  /** One tick of the heartbeat timer. */
  tick (): void {
    // A stream that has ended is ticked until it is flushed.
    const isStalled = this.#state === 'closed' ? this.#writer.checkStall() : this.#writer.tick()
    if (isStalled) this.destroy('slow')
  }

  get #waiting (): WriteQueue {
    this.#queue ??= new WriteQueue()
    return this.#queue
  }

  #admit (): void {
    this.#queue?.admit(() => this.#writer.isFull, frame => this.#writer.put(frame))
  }

  #frameOf (event: SseEvent<E>): Frame {
    return { bytes: this.#init.encode(event), events: 1 }
  }

  /**
   * Also true if the client is known to be gone and 'close' is still to come: a source that never yields to the event
   * loop would prevent it.
   */
  #isOver (): boolean {
    if (this.#state === 'open' && isGone(this.#init.raw)) this.#close('client', false)
    return this.#state === 'closed'
  }

  #overflow (): false {
    if (this.#init.options.slowClient === 'close') this.#close('slow', true)
    return false
  }

  #startLifetime (): void {
    const { maxLifetimeMs, lifetimeJitter } = this.#init.options
    if (maxLifetimeMs === 0) return
    const ms = Math.max(1, Math.round(maxLifetimeMs * (1 - lifetimeJitter * Math.random())))
    this.#lifetime = setTimeout(() => this.#close('lifetime', false), ms).unref()
  }

  #close (reason: CloseReason, isCut: boolean): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#isBroken ||= this.#control === 'none' && reason !== 'end'
    this.#writer.seal()
    clearTimeout(this.#lifetime)
    this.#queue?.giveUp()
    this.#end.settle(reason)
    if (isCut) this.#cut(reason)
    else if (this.#writer.isOpen) this.#finish()
    this.#init.onClosed(reason)
    if (this.#writer.isOpen) this.#init.onOver(reason)
  }

  #finish (): void {
    if (this.#isBroken) this.#writer.breakOff()
    else this.#writer.end()
  }

  #cut (reason: CloseReason): void {
    this.#writer.cut({ isShutdown: reason === 'shutdown' })
  }

  #gone (): void {
    this.#close(this.#init.raw.writableEnded ? 'error' : 'client', false)
    this.#init.onGone()
  }
}
