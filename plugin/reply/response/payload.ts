import { EventEmitter } from 'node:events'
import type { FastifyReply } from 'fastify'
import { admitStream } from '../request/admission.ts'
import { errors } from '../errors.ts'
import { isGone, isQueued } from './transport.ts'
import type { StreamHeaders } from './stream-headers.ts'
import { takeOver } from './take-over.ts'
import type { RawResponse } from './transport.ts'
import { removeVary } from './vary.ts'
import { openSource, startRun } from '../source.ts'
import type { RunListener, SourceRun } from '../source.ts'
import { deferred } from '../../common/deferred.ts'
import type { ReplyStream } from '../stream/reply-stream.ts'
import type { CloseReason } from '../stream/stream-init.ts'

/** What may fail: the source of a stream, or the handler that created it. */
export type Failing = 'source' | 'handler'

/** The creator of a payload. It lasts as long as the stream; the payload itself is dropped when it is committed. */
export interface PayloadOwner extends RunListener {
  /**
   * The reply is in Fastify's hands again, as if no stream had been started; its error handler may start another one.
   */
  onHandedBack: () => void
  onCommitted: () => void
  /** The source or the handler failed after the first byte, or when the stream had already ended. */
  onFailure: (error: unknown, what: Failing) => void
  /**
   * One of them failed before the first byte; returns true if it ended the stream itself, so that the error is reported
   * with status 200.
   */
  mayRefuse: (error: unknown) => boolean
}

/** What the payload needs from its creator. */
export interface PayloadInit {
  reply: FastifyReply
  headers: StreamHeaders
  stream: ReplyStream
  /** Undefined if the stream is written manually. */
  source: unknown
  /** True if the client has seen that the end of the stream is final, and receives 204. */
  isFinished: boolean
  owner: PayloadOwner
}

type Listeners = ReadonlyArray<readonly [event: string | symbol, listener: (...args: unknown[]) => void]>

function listenersOf (res: RawResponse): Listeners {
  return res.eventNames().flatMap(event => res.listeners(event).map(each => [event, each as () => void] as const))
}

/** The listeners in the first group that are not in the second. */
function added (listeners: Listeners, before: Listeners): Listeners {
  return listeners.filter(([event, each]) => !before.some(([known, other]) => known === event && other === each))
}

/** Headers that a response without a body does not have. */
const NO_CONTENT_LACKS = ['content-type', 'content-encoding', 'incremental', 'trailer', 'transfer-encoding']

/**
 * The argument of `reply.send()`: it looks like a stream, so that Fastify performs all its steps (onSend hooks,
 * headers, cookies) and finally calls `pipe(dest)`. From then on the bytes are written directly to `dest`, without
 * passing through a Readable.
 *
 * ```
 *   pipe ─▶ (queued behind another response? wait) ─▶ open ─▶ admit ─▶ run the source ─▶ one tick ─▶ commit
 *                                                      └────────┴──────────┴─ fails ─▶ Fastify's error handler
 * ```
 *
 * Because of the tick between run and commit, a source that fails immediately is answered with its own status. A source
 * that a function or a generator returns in that tick is opened before the commit, too. A stream that has ended by then
 * (because of a shutdown) is committed with its last frame; its source is not started.
 */
export class StreamPayload extends EventEmitter {
  readonly #init: PayloadInit
  #listeners: Listeners | undefined
  #state: 'waiting' | 'committed' | 'given up' = 'waiting'
  #hasTrailers = false
  #hasBegun = false
  #isDue = false
  #lateOpenings = 0
  #hasNoContent = false
  #earlyFailure: { error: unknown } | undefined
  /** The stream is over. A promise of the stream itself would keep everything that waits for it here. */
  readonly #over = deferred()

  constructor (init: PayloadInit) {
    super()
    this.#init = init
  }

  /** Fastify adds listeners here, then to the response, and then calls `pipe`. */
  override on (...args: Parameters<EventEmitter['on']>): this {
    this.#listeners ??= listenersOf(this.#init.reply.raw)
    return super.on(...args)
  }

  /**
   * Called by Fastify after the onSend hooks. `end: false` means there are trailers, which Fastify writes after our
   * 'end'.
   */
  pipe (dest: RawResponse, { end = true }: { end?: boolean } = {}): RawResponse {
    if (dest !== this.#init.reply.raw) this.#refuseWrapping()
    this.#hasTrailers = !end
    this.#listeners = added(listenersOf(dest), this.#listeners!)
    const begin = (): void => { this.#begin().catch((error: unknown) => this.#fail(error)) }
    if (isQueued(dest)) dest.once('socket', begin)
    else begin()
    return dest
  }

  /**
   * The handler that created the stream has failed. If it is too early to respond, the response follows as soon as
   * possible.
   */
  failed (error: unknown): void {
    if (this.#hasBegun) this.#fail(error, 'handler')
    else this.#earlyFailure = { error }
  }

  sourceFailed (error: unknown): void { this.#fail(error) }

  streamClosed (): void { this.#over.settle() }

  /** An async handler returned nothing, and Fastify is about to send an empty 200, which nobody wants. */
  returnedNothing (): void {
    const { url } = this.#init.reply.request.routeOptions
    if (this.#state === 'waiting') this.failed(new errors.FST_SSE_NOT_RETURNED(url ?? 'this route'))
  }

  /** Something else responds instead of this stream, of which nothing was sent. */
  abandon (): void {
    if (this.#state !== 'waiting') return
    this.#init.headers.remove()
    this.#giveUp('error')
  }

  /** Called by Fastify if the response closes before this payload has ended; the stream detects that itself. */
  destroy (): void {}

  async #begin (): Promise<void> {
    const { source, stream } = this.#init
    this.#hasBegun = true
    if (this.#giveUpIfOver()) return
    if (this.#init.isFinished) return this.#answerNoContent()
    if (this.#earlyFailure) return this.#fail(this.#earlyFailure.error, 'handler')
    const run = await this.#open()
    if (this.#giveUpIfOver()) return
    if (stream.isOpen && source !== undefined && !run) return this.#answerNoContent()
    await this.#admit()
    if (this.#giveUpIfOver()) return
    if (stream.isOpen && run) startRun(run, this.#init.owner)
    setImmediate(() => this.#commit())
  }

  async #open (): Promise<SourceRun | void> {
    const { source, stream } = this.#init
    if (!stream.isOpen || source === undefined) return
    return this.#unlessOver(openSource(source, { stream, late: opened => this.#openLate(opened) }))
  }

  /** Like `opened`. While nothing is committed it may still become a 204 or an error of its own. */
  async #openLate (opened: Promise<SourceRun | undefined>): Promise<SourceRun | undefined> {
    const { stream } = this.#init
    this.#lateOpenings++
    try {
      const run = await this.#unlessOver(opened)
      if (!run) this.#hasNoContent = stream.written.bytes === 0
      return run ?? undefined
    } finally {
      if (--this.#lateOpenings === 0 && this.#isDue) setImmediate(() => this.#commit())
    }
  }

  /**
   * Nothing that was written may be sent before this has settled, even if the stream has ended by then: otherwise
   * writing and ending at once would bypass the admission. A stream that was ended from outside (a shutdown, an error)
   * with nothing written should not cost a one-time token.
   */
  async #admit (): Promise<void> {
    const { stream, reply } = this.#init
    const isSentAway = stream.closeReason === 'shutdown' || stream.closeReason === 'error'
    if (isSentAway && stream.written.events === 0) return
    await admitStream(stream, reply)
  }

  /** Waits no longer than the stream lasts: otherwise a shutdown would have to wait for this, too. */
  #unlessOver<T> (work: T | Promise<T>): Promise<T | void> {
    const over = this.#state === 'waiting' ? this.#over.promise : this.#init.stream.closed.then(() => {})
    return Promise.race([work, over])
  }

  #commit (): void {
    this.#isDue = true
    if (this.#state !== 'waiting' || this.#lateOpenings > 0 || this.#giveUpIfOver()) return
    if (this.#hasNoContent && this.#init.stream.closeReason !== 'shutdown') return this.#answerNoContent()
    this.#state = 'committed'
    takeOver(this.#init.reply)
    this.#init.stream.attach(this.#hasTrailers ? () => { this.emit('end') } : undefined)
    if (this.#hasTrailers) return
    // Otherwise Fastify would log a client's disconnect as an error of this payload.
    this.#release()
    this.#init.owner.onCommitted()
  }

  /** Nothing uses this payload from here on; its listeners would only be retained for the life of the stream. */
  #release (): void {
    this.#init.source = undefined
    this.emit('end')
    this.removeAllListeners()
    for (const [event, listener] of this.#listeners!) this.#init.reply.raw.off(event, listener)
    this.#listeners = undefined
  }

  /**
   * Gives up if there is nobody to stream to: the client has disconnected, or something else (a handler timeout) has
   * responded.
   */
  #giveUpIfOver (): boolean {
    const { raw, sent, log } = this.#init.reply
    if (raw.headersSent || sent) {
      log.warn(
        'the event stream was discarded: another response was sent; ' +
          'an async handler that calls reply.sse() must return the reply'
      )
      this.#giveUp('error')
    } else if (isGone(raw)) this.#giveUp('client')
    return this.#state === 'given up'
  }

  #giveUp (reason: CloseReason): void {
    this.#state = 'given up'
    this.#init.stream.close(reason)
    this.emit('end')
  }

  #answerNoContent (): void {
    const { raw } = this.#init.reply.hijack()
    for (const name of NO_CONTENT_LACKS) raw.removeHeader(name)
    raw.statusCode = 204
    raw.end()
    this.#giveUp('end')
  }

  #fail (error: unknown, what: Failing = 'source'): void {
    if (this.#state !== 'waiting') return this.#init.owner.onFailure(error, what)
    if (this.#giveUpIfOver()) return
    if (this.#init.owner.mayRefuse(error)) return this.#commit()
    this.#handBack(error)
  }

  /** Headers that the hook set for its own payload would make the error unreadable. */
  #refuseWrapping (): never {
    const { reply } = this.#init
    reply.removeHeader('content-encoding')
    removeVary(reply, 'accept-encoding')
    throw new errors.FST_SSE_WRAPPED()
  }

  /** Passes the error to Fastify's error handler, with the reply as if no stream had been started. */
  #handBack (error: unknown): void {
    this.#state = 'given up'
    this.#init.stream.close('error')
    this.#init.headers.remove()
    this.#init.owner.onHandedBack()
    this.emit('error', error)
  }
}

/** The response to HEAD: the stream's headers and nothing else; the source is never started. */
export class HeadPayload extends EventEmitter {
  /** Called by Fastify for a HEAD route that it created from a GET route. */
  resume (): void {}

  /** Called by Fastify for a HEAD route of the application. */
  pipe (dest: RawResponse): RawResponse {
    dest.end()
    this.emit('end')
    return dest
  }
}
