import { channel } from 'node:diagnostics_channel'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { guardCallback } from '../common/callback.ts'
import { checkAdmission, ownerOf } from './request/admission.ts'
import { errors } from './errors.ts'
import { resolveOptions } from './options.ts'
import type { ResolvedOptions, SseOptions } from './options.ts'
import { acceptsSse, readLastEventId } from './request/negotiate.ts'
import { FINAL_ID } from './wire.ts'
import type { WireEvent } from './wire.ts'
import type { SseEvent } from './events.ts'
import { encodeFor } from './request/route-settings.ts'
import type { RouteSettings } from './request/route-settings.ts'
import { checkSource, topicsOf } from './source.ts'
import { dispose } from './source-kind.ts'
import { ReplyStream } from './stream/reply-stream.ts'
import type { SseStream } from './stream/sse-stream.ts'
import type { CloseReason, StreamInit, StreamOwner } from './stream/stream-init.ts'
import type { RawResponse } from './response/transport.ts'
import { discardBody } from './request/request-body.ts'
import { HeadPayload, StreamPayload } from './response/payload.ts'
import type { Failing, PayloadOwner } from './response/payload.ts'
import { StreamHeaders } from './response/stream-headers.ts'
import { watchHandlerOf } from './handler.ts'
import type { HandlerListener } from './handler.ts'
import { reportOf } from './error-report.ts'
import { reject, rejectionOf } from './rejection.ts'
import { forbidRetry, isStarted, setStream } from './reply-state.ts'
import { DEFAULT_STALL_MS } from './stream/heartbeat.ts'
import type { HeartbeatTimer } from './stream/heartbeat.ts'
import type { StreamRegistry } from './stream/open-streams.ts'

/** Published on the diagnostics channel `sse.stream.open`. */
export interface StreamOpenMessage { request: FastifyRequest, stream: SseStream }
/** Published on the diagnostics channel `sse.stream.close`. */
export interface StreamCloseMessage extends StreamOpenMessage {
  reason: CloseReason
  events: number
  bytes: number
  durationMs: number
}

const openChannel = channel('sse.stream.open')
const closeChannel = channel('sse.stream.close')

interface ReplyInit {
  reply: FastifyReply
  source: unknown
  callOptions: SseOptions | undefined
  settings: RouteSettings
  registry: StreamRegistry
  heartbeats: HeartbeatTimer
}

/** Implements `reply.sse()`: checks, creates the stream, and passes its payload to Fastify. */
export function startReply (init: ReplyInit): SseStream | FastifyReply {
  const { reply, source, settings } = init
  try {
    const options =
      init.callOptions !== undefined ? resolveOptions('call', settings.options, init.callOptions) : settings.options
    if (source !== undefined) checkSource(source)
    checkReply(reply, options)
    checkAdmission(reply.request, topicsOf(source))
    return start(init, { ...settings, options })
  } catch (error) {
    dispose(source)
    throw error
  }
}

function start (init: ReplyInit, settings: RouteSettings): SseStream | FastifyReply {
  const { reply, source } = init
  const headers = new StreamHeaders(reply, settings.options.gzipMinBytes)
  const owner = new StreamReply(init, settings, headers.gzipMinBytes)
  const { stream } = owner
  setStream(reply, owner)
  if (reply.request.method === 'HEAD') {
    stream.close('end')
    reply.send(new HeadPayload())
  } else {
    const isFinished = settings.options.final && stream.lastEventId === FINAL_ID
    if (isFinished) finish(stream, source)
    const payload = owner.payload = new StreamPayload({ reply, headers, stream, source, isFinished, owner })
    watchHandlerOf(reply, owner)
    reply.send(payload)
  }
  return source === undefined ? stream : reply
}

/** The client reconnects after a final end, as EventSource does: nothing is started for it. */
function finish (stream: SseStream, source: unknown): void {
  dispose(source)
  stream.close('end')
}

function checkReply (reply: FastifyReply, options: ResolvedOptions): void {
  if (isStarted(reply)) throw new errors.FST_SSE_ALREADY_STARTED('turned into an event stream')
  if (reply.sent) throw new errors.FST_SSE_ALREADY_STARTED('sent')
  if (reply.statusCode < 200 || reply.statusCode > 299 || reply.statusCode === 204 || reply.statusCode === 205) {
    throw new errors.FST_SSE_BAD_STATUS(reply.statusCode)
  }
  const { accept } = reply.request.headers
  if (options.negotiate && !acceptsSse(accept)) throw new errors.FST_SSE_NOT_ACCEPTABLE(accept)
}

/**
 * What a stream and its payload ask of the reply that they belong to. One object with methods, because it lives as long
 * as the stream: as closures all this took a kilobyte.
 */
class StreamReply implements StreamInit, PayloadOwner, HandlerListener {
  readonly stream: ReplyStream
  readonly raw: RawResponse
  readonly owner: StreamOwner | undefined
  readonly lastEventId: string | undefined
  readonly gzipMinBytes: number | undefined
  /** Undefined once the stream is committed. */
  payload: StreamPayload | undefined
  readonly #reply: FastifyReply
  readonly #settings: RouteSettings
  readonly #registry: StreamRegistry
  readonly #heartbeats: HeartbeatTimer
  #source: unknown
  #isAttached = false
  /** The error was already logged, so the close is not logged as another problem. */
  #isTold = false

  constructor (init: ReplyInit, settings: RouteSettings, gzipMinBytes: number | undefined) {
    const { reply, source, registry, heartbeats } = init
    this.#reply = reply
    this.#settings = settings
    this.#registry = registry
    this.#heartbeats = heartbeats
    this.#source = source
    this.raw = reply.raw
    this.owner = ownerOf(reply.request)
    this.lastEventId = readLastEventId(reply.request)
    this.gzipMinBytes = gzipMinBytes
    this.stream = new ReplyStream(this)
    registry.add(this.stream)
    this.stream.listen()
  }

  get options (): ResolvedOptions { return this.#settings.options }

  get #heartbeatMs (): number { return this.options.heartbeatMs || DEFAULT_STALL_MS }

  encode (event: WireEvent): Buffer { return encodeFor(this.#settings, event) }

  checkTopics (topics: readonly string[]): void { checkAdmission(this.#reply.request, topics) }

  onAttach (): void {
    const { request } = this.#reply
    this.#isAttached = true
    // Dropped, because a stream lasts long and its source may hold much memory.
    this.#source = undefined
    discardBody(request)
    openChannel.publish({ request, stream: this.stream } satisfies StreamOpenMessage)
    this.#heartbeats.add(this.stream, this.#heartbeatMs)
    this.#registry.attach(this.stream)
  }

  onClosed (reason: CloseReason): void {
    this.#registry.close(this.stream, reason, this.#reply.log)
    if (!this.#isAttached) {
      this.#registry.remove(this.stream)
      dispose(this.#source)
    }
    this.#call('onClose', () => this.options.onClose?.(reason, this.stream))
    this.payload?.streamClosed()
  }

  onOver (reason: CloseReason): void {
    this.#registry.over(this.stream, reason)
    const { stream } = this
    this.#logClose({
      request: this.#reply.request, stream, reason, ...stream.written, durationMs: Math.round(stream.ageMs)
    })
  }

  onGone (): void {
    this.#heartbeats.remove(this.stream, this.#heartbeatMs)
    this.#registry.remove(this.stream)
  }

  onHandedBack (): void { setStream(this.#reply, null) }

  onCommitted (): void { this.payload = undefined }

  /** Of the handler. */
  failed (error: unknown): void {
    if (this.payload) this.payload.failed(error)
    else this.onFailure(error, 'handler')
  }

  sourceFailed (error: unknown): void {
    if (this.payload) this.payload.sourceFailed(error)
    else this.onFailure(error, 'source')
  }

  returnedNothing (): void { this.payload?.returnedNothing() }

  mayRefuse (error: unknown): boolean {
    const { stream } = this
    const reply = this.#reply
    if (stream.control === 'none') forbidRetry(reply)
    const rejection = rejectionOf(reply, error)
    if (!rejection) return false
    this.#isTold = true
    reject(reply, stream, error, rejection)
    return true
  }

  onFailure (error: unknown, what: Failing): void {
    const { stream } = this
    const { log } = this.#reply
    if (!stream.isOpen) {
      // A source that was interrupted may well fail. A handler that ended its stream itself has failed for another
      // reason.
      const level = what === 'handler' && stream.closeReason === 'end' ? 'error' : 'debug'
      return log[level]({ err: error }, `the ${what} of an event stream failed after the stream was over`)
    }
    this.#isTold = true
    // A client that cannot be informed of missing events is not an error of the application.
    const level = stream.control === 'none' && reportOf(error).statusCode === 410 ? 'info' : 'error'
    log[level]({ err: error, topics: stream.topics }, `the ${what} of an event stream failed`)
    const custom = this.#call('onError', () => this.options.onError?.(error, stream)) ?? undefined
    this.#call('onError', () => stream.close('error', custom ?? this.#reportEvent(error)))
    stream.close('error')
  }

  #call<T> (name: string, callback: () => T): T | undefined {
    return guardCallback(this.#reply.log, `${name} callback of an event stream`, callback)
  }

  /** As bytes, because its data is JSON whatever the application's serializer does. */
  #reportEvent (error: unknown): SseEvent | undefined {
    const { errorEvent } = this.options
    if (errorEvent === false || this.stream.control === 'none') return undefined
    return { event: errorEvent, data: Buffer.from(JSON.stringify(reportOf(error))) }
  }

  #logClose (message: StreamCloseMessage): void {
    const { request, reason, events, bytes, durationMs } = message
    closeChannel.publish(message)
    const isTrouble = reason === 'slow' || (reason === 'error' && !this.#isTold)
    request.log[isTrouble ? 'warn' : 'debug']({ sse: { reason, events, bytes, durationMs } }, 'event stream closed')
  }
}
