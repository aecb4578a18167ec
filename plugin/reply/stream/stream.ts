import { encodeComment, encodeRetry, FINAL_FRAME } from '../wire.ts'
import { closeWithConnection, isGone, isQueued, prepareListeners } from '../response/transport.ts'
import type { Ticking } from './heartbeat.ts'
import type { AnyEvents, SseEvent, SseEvents } from '../events.ts'
import type { Frame } from '../frame.ts'
import { StreamEnd } from './stream-end.ts'
import type { CloseReason, StreamInit, StreamOwner } from './stream-init.ts'
import { ResponseWriter } from '../response/response-writer.ts'
import { WriteQueue } from './write-queue.ts'

const NO_TOPICS: readonly string[] = []

/**
 * One open response.
 *
 * ```
 *   pending ──attach──▶ open ──close(reason)──▶ closed     (closed is also reached from pending)
 *      frames wait        frames go to the response          pending bytes are flushed, then the response ends
 * ```
 */
export class SseStream<E extends SseEvents = AnyEvents> implements Ticking {
  /** The client's `Last-Event-ID`, as UTF-8; undefined if it sent none or an empty one. */
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

  /** True until the stream has ended. */
  get isOpen (): boolean { return this.#state !== 'closed' }

  /**
   * True while `send()` would wait: even if a few bytes have been sent since, when earlier `send()` calls wait for the
   * rest.
   */
  get isFull (): boolean { return this.#queue?.hasFrames === true || this.#writer.isFull }

  /** Bytes pending for this client in this process, including those written in the current tick of the event loop. */
  get bufferedBytes (): number { return this.#writer.bufferedBytes }

  /** Maximum bytes pending for this client, see the option of the same name. */
  get maxBufferedBytes (): number { return this.#init.options.maxBufferedBytes }

  /** Events and bytes written so far, compressed where the response is; heartbeats and comments count as bytes only. */
  get written (): { events: number, bytes: number } { return this.#writer.written }

  /** The owner of the stream; undefined if its request was not authenticated. */
  get owner (): StreamOwner | undefined { return this.#init.owner }

  /** Time since the first byte was sent, in ms; 0 before. */
  get ageMs (): number { return this.#attachedAtMs === 0 ? 0 : performance.now() - this.#attachedAtMs }

  /** Why the stream has ended; undefined while it is open. */
  get closeReason (): CloseReason | undefined { return this.#end.reason }

  /** Topics that were checked for this stream: all that it carries, if its source knows them. */
  get topics (): readonly string[] { return this.#topics }

  /**
   * Must be called by a source that knows its topics, before it reads them: throws 403 `FST_SSE_FORBIDDEN` if the
   * request has a grant that does not cover one of them. `app.topics.subscribe()` calls it; `reply.sse()` calls it for
   * a source that has `topics`.
   */
  checkTopics (topics: string | readonly string[]): void {
    const named = typeof topics === 'string' ? [topics] : topics
    this.#init.checkTopics(named)
    const added = named.filter((topic, at) => !this.#topics.includes(topic) && named.indexOf(topic) === at)
    if (added.length > 0) this.#topics = this.#topics.concat(added)
  }

  /**
   * `none` for a client of another protocol, which does not know in-band events (`stream.*`): it receives none, and the
   * stream ends cleanly only when its source has ended. If it ends for any other reason, the response is aborted after
   * everything written, so that the client does not mistake a part for the whole. Default `in-band`.
   */
  get control (): 'in-band' | 'none' { return this.#control }

  /** Sets `control` to `none`; to be called by a source, before the first byte. */
  omitControl (): void { this.#control = 'none' }

  /** Aborts when the stream ends; its `reason` is an Error whose `cause` is the close reason. */
  get signal (): AbortSignal { return this.#end.signal }

  /** Resolves to the reason when the stream ends; never rejects. Bytes already written may still be on their way. */
  get closed (): Promise<CloseReason> { return this.#end.closed }

  /** Calls back when the stream is over, in a microtask of its own: as `closed`, without promises. */
  whenClosed (callback: () => void): void { this.#end.whenClosed(callback) }

  /**
   * Writes one event, waiting for room first. Events sent one after another keep their order. Resolves to true when the
   * event was written, to false if the stream has ended; a client that disconnects never makes it reject. Rejects only
   * with `FST_SSE_BAD_EVENT`, before anything is written.
   */
  async send (event: SseEvent<E>): Promise<boolean> {
    return this.#state !== 'closed' && this.sendFrame(this.#frameOf(event))
  }

  /** Like `send()`, for one or more complete events that are already encoded. */
  sendFrame (frame: Frame): Promise<boolean> {
    if (this.#isOver()) return Promise.resolve(false)
    if (this.isFull) return this.#waiting.frame(frame)
    this.#writer.put(frame)
    return Promise.resolve(true)
  }

  /**
   * Writes one event now, ahead of any `send()` that is still waiting. Returns false if it was not written: the stream
   * has ended, or the client is too slow (see `slowClient`). Throws `FST_SSE_BAD_EVENT`, before anything is written.
   */
  push (event: SseEvent<E>): boolean {
    return this.#state !== 'closed' && this.write(this.#frameOf(event))
  }

  /**
   * Like `push()`, for one or more complete events that are already encoded. Their bytes are not copied: do not change
   * them afterwards.
   */
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

  /** Writes a comment, which clients ignore. Returns false if it was not written. */
  comment (text: string): boolean {
    return this.write(encodeComment(text))
  }

  /** Resolves to true when there is room, to false if the stream has ended. All callers share one promise. */
  room (): Promise<boolean> {
    if (this.#state === 'closed') return Promise.resolve(false)
    if (!this.isFull) return Promise.resolve(true)
    return this.#waiting.room()
  }

  /** Ends the stream after everything written, and after `last` if given. Does nothing if it has already ended. */
  end (last?: SseEvent<E>): void {
    this.close('end', last)
  }

  /**
   * Ends the stream with a reason, after everything written and after `last` if given; `send()` calls that are still
   * waiting resolve to false. Bytes that the client cannot receive within two heartbeats are dropped with the
   * connection.
   */
  close (reason: CloseReason, last?: SseEvent<E>): void {
    if (this.#state === 'closed') return
    if (last !== undefined) this.#writer.put(this.#frameOf(last))
    if (reason === 'end' && this.#init.options.final && this.#control === 'in-band') this.#writer.put(FINAL_FRAME)
    this.#close(reason, reason === 'slow')
  }

  /** Ends the stream after everything written, in such a way that the client treats the response as incomplete. */
  breakOff (): void {
    if (this.#state === 'closed') return
    this.#isBroken = true
    this.#close('end', false)
  }

  /** Ends the stream after everything written and after this frame, which can no longer wait. */
  endWith (last: Frame): void {
    if (this.#state === 'closed') return
    this.#writer.put(last)
    this.close('end')
  }

  /** Ends the stream and asks the client to reconnect after `retryMs`. */
  closeWithRetry (reason: CloseReason, retryMs: number): void {
    if (this.#state === 'closed') return
    this.#writer.put(encodeRetry(retryMs))
    this.#close(reason, false)
  }

  /** Closes the connection and drops unsent bytes, even if the stream has ended but is not flushed yet. */
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
