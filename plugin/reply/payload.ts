import { EventEmitter } from 'node:events'
import type { FastifyReply } from 'fastify'
import { admitStream } from './admission.ts'
import { errors } from './errors.ts'
import { isGone, isQueued } from './transport.ts'
import type { RawResponse } from './transport.ts'
import { openSource } from './source.ts'
import type { SourceRun } from './source.ts'
import type { CloseReason, SseStream } from './stream.ts'

/** Who may fail: the source of a stream, or the handler that made it. */
export type Failing = 'source' | 'handler'

/** What the payload asks of the one who makes it. */
export interface PayloadInit {
  reply: FastifyReply
  stream: SseStream
  /** Undefined: the stream is used by hand. */
  source: unknown
  /** The client has seen that the end of the stream is final, and receives 204. */
  isFinished: boolean
  /** The reply is Fastify's again, as if no stream had been tried; its error handler may begin another one. */
  onHandedBack: () => void
  /** The source or the handler failed after the first byte, or when the stream was over already. */
  onFailure: (error: unknown, what: Failing) => void
  /**
   * One of them failed before the first byte; true when it ended the stream itself, so that a 200 tells the refusal.
   */
  mayRefuse: (error: unknown) => boolean
}

/** Headers that describe the stream and would be wrong on the answer of an error handler. */
const STREAM_HEADERS = ['content-type', 'cache-control', 'x-accel-buffering', 'incremental']

/**
 * What `reply.send()` is given: it looks like a stream, so that Fastify runs its whole course (onSend hooks, headers,
 * cookies) and calls `pipe(dest)` last. From there on the bytes go straight to `dest`; none passes through a Readable.
 *
 * ```
 *   pipe ─▶ (queued behind another response? wait) ─▶ open ─▶ admit ─▶ run the source ─▶ one turn of the loop ─▶ commit
 *                                                      └────────┴──────────┴─ fails ─▶ Fastify's error handler
 * ```
 *
 * The turn between run and commit lets a source that fails at once be answered with its own status. A source that a
 * function or a generator returns in that turn is opened before the commit, too.
 * A stream that is over by then (a shutdown) is committed with what it was given to say; its source is not started.
 */
export class StreamPayload extends EventEmitter {
  readonly #init: PayloadInit
  #state: 'waiting' | 'committed' | 'given up' = 'waiting'
  #hasTrailers = false
  #hasBegun = false
  #isDue = false
  #lateOpenings = 0
  #hasNoContent = false
  #earlyFailure: { error: unknown } | undefined

  constructor (init: PayloadInit) {
    super()
    this.#init = init
  }

  /**
   * Called by Fastify after the onSend hooks. `end: false` means there are trailers, which Fastify writes after our
   * 'end'.
   */
  pipe (dest: RawResponse, { end = true }: { end?: boolean } = {}): RawResponse {
    if (dest !== this.#init.reply.raw) this.#refuseWrapping()
    this.#hasTrailers = !end
    const begin = (): void => { this.#begin().catch((error: unknown) => this.#fail(error)) }
    if (isQueued(dest)) dest.once('socket', begin)
    else begin()
    return dest
  }

  /**
   * The handler that made the stream has failed. Where nothing can be answered yet, that is answered when it can be.
   */
  failed (error: unknown): void {
    if (this.#hasBegun) this.#fail(error, 'handler')
    else this.#earlyFailure = { error }
  }

  /** An async handler returned nothing, and Fastify is about to answer for it: an empty 200 would be nobody's wish. */
  returnedNothing (): void {
    const { url } = this.#init.reply.request.routeOptions
    if (this.#state === 'waiting') this.failed(new errors.FST_SSE_NOT_RETURNED(url ?? 'this route'))
  }

  /** Something else answers in the place of this stream, of which nothing was sent. */
  abandon (): void {
    if (this.#state !== 'waiting') return
    this.#removeHeaders()
    this.#giveUp('error')
  }

  /** Called by Fastify when the response is over before this payload is; the stream hears of that by itself. */
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
    if (stream.isOpen && run) Promise.resolve(run()).catch((error: unknown) => this.#fail(error))
    setImmediate(() => this.#commit())
  }

  async #open (): Promise<SourceRun | void> {
    const { source, stream } = this.#init
    if (!stream.isOpen || source === undefined) return
    return this.#unlessOver(openSource(source, { stream, late: opened => this.#openLate(opened) }))
  }

  /** As `opened`. While nothing is committed it may still become a 204 or an error of its own. */
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
   * Nothing that was written may leave before this has settled, also when the stream is over by then: else writing and
   * ending at once would be a way around it. A stream that was sent away (a shutdown, an error) with nothing written is
   * not worth a one-time token.
   */
  async #admit (): Promise<void> {
    const { stream, reply } = this.#init
    const isSentAway = stream.closeReason === 'shutdown' || stream.closeReason === 'error'
    if (isSentAway && stream.written.events === 0) return
    await admitStream(stream, reply)
  }

  /** Waits no longer than the stream lasts: a shutdown would have to wait for whatever this waits for. */
  #unlessOver<T> (work: T | Promise<T>): Promise<T | void> {
    return Promise.race([work, this.#init.stream.closed.then(() => {})])
  }

  #commit (): void {
    this.#isDue = true
    if (this.#state !== 'waiting' || this.#lateOpenings > 0 || this.#giveUpIfOver()) return
    if (this.#hasNoContent && this.#init.stream.closeReason !== 'shutdown') return this.#answerNoContent()
    this.#state = 'committed'
    this.#init.reply.hijack()
    this.#init.stream.attach(this.#hasTrailers ? () => { this.emit('end') } : undefined)
    // Else Fastify would log a client's leaving as an error of this payload.
    if (!this.#hasTrailers) this.emit('end')
  }

  /**
   * Gives up when there is nobody to stream to: the client left, or something else (a handler timeout) has answered.
   */
  #giveUpIfOver (): boolean {
    const { raw, sent, log } = this.#init.reply
    if (raw.headersSent || sent) {
      log.warn(
        'the event stream was given up: something else has answered; ' +
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
    for (const name of ['content-type', 'incremental', 'trailer', 'transfer-encoding']) raw.removeHeader(name)
    raw.statusCode = 204
    raw.end()
    this.#giveUp('end')
  }

  #fail (error: unknown, what: Failing = 'source'): void {
    if (this.#state !== 'waiting') return this.#init.onFailure(error, what)
    if (this.#giveUpIfOver()) return
    if (this.#init.mayRefuse(error)) return this.#commit()
    this.#handBack(error)
  }

  /** What the hook said of its own payload would make the error unreadable. */
  #refuseWrapping (): never {
    const { reply } = this.#init
    reply.removeHeader('content-encoding')
    const vary = String(reply.getHeader('vary') ?? '')
      .split(',')
      .map(field => field.trim())
      .filter(field => field !== '' && !/^accept-encoding$/i.test(field))
    if (vary.length > 0) reply.header('vary', vary.join(', '))
    else reply.removeHeader('vary')
    throw new errors.FST_SSE_WRAPPED()
  }

  #removeHeaders (): void {
    for (const name of STREAM_HEADERS) this.#init.reply.removeHeader(name)
  }

  /** Hands the error to Fastify's error handler, with a reply as if no stream had been tried. */
  #handBack (error: unknown): void {
    this.#state = 'given up'
    this.#init.stream.close('error')
    this.#removeHeaders()
    this.#init.onHandedBack()
    this.emit('error', error)
  }
}

/** The answer to HEAD: the stream's headers and nothing behind them; the source is never started. */
export class HeadPayload extends EventEmitter {
  /** Called by Fastify for a HEAD route it made itself from a GET route. */
  resume (): void {}

  /** Called by Fastify for a HEAD route of the application. */
  pipe (dest: RawResponse): RawResponse {
    dest.end()
    this.emit('end')
    return dest
  }
}
