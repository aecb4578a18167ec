import { setMaxListeners } from 'node:events'
import { encodeComment, encodeRetry, FINAL_FRAME } from './wire.ts'
import type { WireEvent } from './wire.ts'
import { closeWithConnection, isGone, isQueued } from './transport.ts'
import type { RawResponse } from './transport.ts'
import type { Ticking } from './heartbeat.ts'
import type { AnyEvents, SseEvent, SseEvents } from './events.ts'
import type { Frame } from './frame.ts'
import type { StreamPolicy } from './stream-policy.ts'
import { ResponseWriter } from './response-writer.ts'
import { deferred } from '../common/deferred.ts'
import type { Deferred } from '../common/deferred.ts'
import { WriteQueue } from './write-queue.ts'

/** Why a stream is over. A closed union: one log field, one metric label. */
export type CloseReason =
  'end' | 'client' | 'slow' | 'shutdown' | 'expired' | 'revoked' | 'error' | 'lifetime' | 'replaced'

/** What a stream needs from the one who makes it. */
export interface StreamInit {
  raw: RawResponse
  options: StreamPolicy
  lastEventId: string | undefined
  encode: (event: WireEvent) => Buffer
  /** Throws when the request may not read one of the topics. */
  checkTopics: (topics: readonly string[]) => void
  /**
   * Called when the first bytes are about to go out, also when they are the last; not for a client that left before.
   */
  onAttach: () => void
  /** Called once, when the stream is over, whatever still has to be flushed. */
  onClosed: (reason: CloseReason) => void
  /** Called once, when a stream that was attached is over. */
  onOver: (reason: CloseReason) => void
  /** Called once, when the response is flushed or the connection gone. */
  onGone: () => void
}

const NO_TOPICS: readonly string[] = []

/**
 * One open response.
 *
 * ```
 *   pending ──attach──▶ open ──close(reason)──▶ closed     (closed is also reached from pending)
 *      frames wait        frames go to the response          what waits is flushed, then the response ends
 * ```
 */
export class SseStream<E extends SseEvents = AnyEvents> implements Ticking {
  /** The client's `Last-Event-ID`, as UTF-8; undefined when it sent none or an empty one. */
  readonly lastEventId: string | undefined

  #state: 'pending' | 'open' | 'closed' = 'pending'
  #reason: CloseReason | undefined
  readonly #writer: ResponseWriter
  readonly #queue = new WriteQueue()
  #abort: AbortController | undefined
  #closed: Deferred<CloseReason> | undefined
  #lifetime: NodeJS.Timeout | undefined
  #topics: readonly string[] = NO_TOPICS
  readonly #init: StreamInit

  constructor (init: StreamInit) {
    this.#init = init
    this.lastEventId = init.lastEventId
    this.#writer = new ResponseWriter({
      raw: init.raw,
      options: init.options,
      onDrain: () => this.#admit(),
      onStall: () => this.destroy('slow')
    })
  }

  /** Begins to watch the connection; a stream whose client has left already is over here. Called once, by the maker. */
  listen (): void {
    const { raw } = this.#init
    // A write that loses a race with the client's leaving; 'close' follows and tells the reason.
    raw.on('error', () => {})
    if (isGone(raw)) return this.#close('client', false)
    raw.once('close', () => this.#gone())
    if (isQueued(raw)) closeWithConnection(raw)
  }

  /** True until the stream is over. */
  get isOpen (): boolean { return this.#state !== 'closed' }

  /**
   * True while `send()` would wait: also when a few bytes have left since, and earlier `send()` calls wait for the rest
   * to follow.
   */
  get isFull (): boolean { return this.#queue.hasFrames || this.#writer.isFull }

  /** Bytes that wait for this client in this process, those written in this turn of the event loop included. */
  get bufferedBytes (): number { return this.#writer.bufferedBytes }

  /** Bytes that may wait for this client, see the option of the same name. */
  get maxBufferedBytes (): number { return this.#init.options.maxBufferedBytes }

  /** Events and bytes written so far; heartbeats and comments count as bytes only. */
  get written (): { events: number, bytes: number } { return this.#writer.written }

  /** Why the stream is over; undefined while it is open. */
  get closeReason (): CloseReason | undefined { return this.#reason }

  /** Topics that were checked for this stream: all that it carries, where its source knows them. */
  get topics (): readonly string[] { return this.#topics }

  /**
   * To be called by a source that knows its topics, before it reads them: throws 403 `FST_SSE_FORBIDDEN` when the
   * request has a grant that does not cover one of them. `app.topics.subscribe()` does so; `reply.sse()` does it for a
   * source that has `topics`.
   */
  checkTopics (topics: string | readonly string[]): void {
    const named = [topics].flat()
    this.#init.checkTopics(named)
    if (named.length > 0) this.#topics = [...new Set([...this.#topics, ...named])]
  }

  /** Aborts when the stream is over, its `reason` being an Error whose `cause` is the close reason. */
  get signal (): AbortSignal {
    this.#abort ??= createAbort()
    if (this.#reason !== undefined && !this.#abort.signal.aborted) this.#abort.abort(abortReason(this.#reason))
    return this.#abort.signal
  }

  /**
   * Settles with the reason when the stream is over; never rejects. Bytes already written may still be on their way.
   */
  get closed (): Promise<CloseReason> {
    if (this.#reason !== undefined) return Promise.resolve(this.#reason)
    this.#closed ??= deferred<CloseReason>()
    return this.#closed.promise
  }

  /**
   * Writes one event, waiting for room first. Events sent one after the other keep their order.
   * Settles true when the event was handed over, false when the stream is over; a client that leaves never rejects it.
   * Rejects only with `FST_SSE_BAD_EVENT`, before anything is written.
   */
  async send (event: SseEvent<E>): Promise<boolean> {
    return this.#state !== 'closed' && this.sendFrame(this.#frameOf(event))
  }

  /** As `send()`, for one or more whole events that are encoded already. */
  sendFrame (frame: Frame): Promise<boolean> {
    if (this.#isOver()) return Promise.resolve(false)
    if (this.isFull) return this.#queue.frame(frame)
    this.#writer.put(frame)
    return Promise.resolve(true)
  }

  /**
   * Writes one event now, ahead of any `send()` that still waits. Returns false when it was not written: the stream is
   * over, or the client is too slow (see `slowClient`). Throws `FST_SSE_BAD_EVENT`, before anything is written.
   */
  push (event: SseEvent<E>): boolean {
    return this.#state !== 'closed' && this.write(this.#frameOf(event))
  }

  /**
   * As `push()`, for one or more whole events that are encoded already. Their bytes are not copied: do not change them
   * afterwards.
   */
  write (frame: Frame): boolean {
    if (this.#isOver()) return false
    // While there is room any frame passes: an event is never cut, and never refused for its own size here.
    if (this.#writer.isFull && this.bufferedBytes + frame.bytes.length > this.#init.options.maxBufferedBytes) {
      return this.#overflow()
    }
    this.#writer.put(frame)
    return true
  }

  /** Writes a comment, which clients ignore. Returns false when it was not written. */
  comment (text: string): boolean {
    return this.write(encodeComment(text))
  }

  /** Settles true when there is room, false when the stream is over. All who wait share one promise. */
  room (): Promise<boolean> {
    if (this.#state === 'closed') return Promise.resolve(false)
    if (!this.isFull) return Promise.resolve(true)
    return this.#queue.room()
  }

  /** Ends the stream after what was written, and after `last` if given. Does nothing when it is over already. */
  end (last?: SseEvent<E>): void {
    this.close('end', last)
  }

  /**
   * Ends the stream with a reason, after what was written and after `last` if given; `send()` calls that still wait
   * settle false. Whatever the client cannot take within two heartbeats is dropped with the connection.
   */
  close (reason: CloseReason, last?: SseEvent<E>): void {
    if (this.#state === 'closed') return
    if (last !== undefined) this.#writer.put(this.#frameOf(last))
    if (reason === 'end' && this.#init.options.final) this.#writer.put(FINAL_FRAME)
    this.#close(reason, reason === 'slow')
  }

  /** Ends the stream telling the client to come back after `retryMs`. */
  closeWithRetry (reason: CloseReason, retryMs: number): void {
    if (this.#state === 'closed') return
    this.#writer.put(encodeRetry(retryMs))
    this.#close(reason, false)
  }

  /** Cuts the connection with what is still unsent, also when the stream is over but not yet flushed. */
  destroy (reason: CloseReason): void {
    if (this.#state === 'closed') this.#cut(reason)
    else this.#close(reason, true)
  }

  /**
   * Starts writing to the response: headers, preamble and what waits go out together. Called once, by the payload;
   * `endResponse` replaces ending the response where trailers follow.
   */
  attach (endResponse?: () => void): void {
    const { onAttach, onOver } = this.#init
    onAttach()
    this.#writer.open(endResponse)
    if (this.#reason !== undefined) {
      this.#writer.end()
      return onOver(this.#reason)
    }
    this.#state = 'open'
    this.#startLifetime()
    this.#admit()
  }

  /** One tick of the heartbeat timer. */
  tick (): void {
    // A stream that is over is ticked until it is flushed.
    if (this.#state === 'closed') this.#writer.checkStall()
    else this.#writer.tick()
  }

  #admit (): void {
    this.#queue.admit(() => this.#writer.isFull, frame => this.#writer.put(frame))
  }

  #frameOf (event: SseEvent<E>): Frame {
    return { bytes: this.#init.encode(event), events: 1 }
  }

  /**
   * Also when the client is known to be gone and 'close' is still to come: a source that never leaves its turn of the
   * loop would keep it from coming.
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
    this.#reason = reason
    this.#writer.seal()
    clearTimeout(this.#lifetime)
    this.#queue.giveUp()
    this.#abort?.abort(abortReason(reason))
    this.#closed?.settle(reason)
    if (isCut) this.#cut(reason)
    else if (this.#writer.isOpen) this.#writer.end()
    this.#init.onClosed(reason)
    if (this.#writer.isOpen) this.#init.onOver(reason)
  }

  #cut (reason: CloseReason): void {
    this.#writer.cut({ isShutdown: reason === 'shutdown' })
  }

  #gone (): void {
    this.#close(this.#init.raw.writableEnded ? 'error' : 'client', false)
    this.#init.onGone()
  }
}

/** Any number of things may hang on the signal of one stream: Node warns of a leak from the eleventh on. */
function createAbort (): AbortController {
  const abort = new AbortController()
  setMaxListeners(0, abort.signal)
  return abort
}

function abortReason (reason: CloseReason): Error {
  return new Error(`the event stream is over: ${reason}`, { cause: reason })
}
