import { channel } from 'node:diagnostics_channel'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { checkAdmission } from './admission.ts'
import { errors } from './errors.ts'
import { resolveOptions } from './options.ts'
import type { ResolvedOptions, SseOptions } from './options.ts'
import { acceptsSse, isEventSource, readLastEventId } from './negotiate.ts'
import { retryMsAfter } from './route-errors.ts'
import { FINAL_ID } from './wire.ts'
import { encoderFor } from './route-settings.ts'
import type { RouteSettings } from './route-settings.ts'
import { checkSource, topicsOf } from './source.ts'
import { dispose, isThenable } from './source-kind.ts'
import { SseStream } from './stream.ts'
import type { CloseReason } from './stream.ts'
import { discardBody } from './request-body.ts'
import { HeadPayload, StreamPayload } from './payload.ts'
import type { Failing } from './payload.ts'
import { watchHandlerOf } from './handler.ts'
import { isErrorStatusToRetry, reportOf } from './error-report.ts'
import { DEFAULT_STALL_MS } from './heartbeat.ts'
import type { HeartbeatTimer } from './heartbeat.ts'
import type { StreamRegistry } from './stream-registry.ts'

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

/** What `reply.sse()` does: checks, makes the stream, and hands Fastify its payload. */
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
  const stream = createStream(init, settings)
  started.set(reply, undefined)
  setHeaders(reply)
  if (reply.request.method === 'HEAD') {
    stream.close('end')
    reply.send(new HeadPayload())
  } else {
    const failure = failureHandler(reply, stream, settings.options)
    const isFinished = settings.options.final && stream.lastEventId === FINAL_ID
    if (isFinished) finish(stream, source)
    const payload = new StreamPayload({
      reply,
      stream,
      source,
      isFinished,
      onHandedBack: () => started.delete(reply),
      ...failure
    })
    started.set(reply, payload)
    watchHandlerOf(reply, payload)
    reply.send(payload)
  }
  return source === undefined ? stream : reply
}

/** Replies that are turned into a stream, with their payload; HEAD has none. */
const started = new WeakMap<FastifyReply, StreamPayload | undefined>()

/** Gives up the stream of a reply, if there is one that has sent nothing, for an answer of another kind. */
export function abandonStream (reply: FastifyReply): void {
  started.get(reply)?.abandon()
  started.delete(reply)
}

/** A client reconnects after a final end, as EventSource does: nothing is started for it. */
function finish (stream: SseStream, source: unknown): void {
  dispose(source)
  stream.close('end')
}

function checkReply (reply: FastifyReply, options: ResolvedOptions): void {
  if (started.has(reply)) throw new errors.FST_SSE_ALREADY_STARTED('turned into an event stream')
  if (reply.sent) throw new errors.FST_SSE_ALREADY_STARTED('sent')
  if (reply.statusCode < 200 || reply.statusCode > 299 || reply.statusCode === 204 || reply.statusCode === 205) {
    throw new errors.FST_SSE_BAD_STATUS(reply.statusCode)
  }
  const { accept } = reply.request.headers
  if (options.negotiate && !acceptsSse(accept)) throw new errors.FST_SSE_NOT_ACCEPTABLE(accept)
}

/** `incremental` asks proxies to pass each byte on at once (draft-ietf-httpbis-incremental). */
const STREAM_DEFAULTS = [
  ['cache-control', 'no-cache, no-transform'],
  ['x-accel-buffering', 'no'],
  ['incremental', '?1'],
  ['x-content-type-options', 'nosniff']
] as const

/** Never `Connection`, which HTTP/2 forbids; what the application set already stays. */
function setHeaders (reply: FastifyReply): void {
  reply.header('content-type', 'text/event-stream')
  reply.removeHeader('content-length')
  reply.removeHeader('etag')
  for (const [name, value] of STREAM_DEFAULTS) {
    if (!reply.hasHeader(name)) reply.header(name, value)
  }
}

function createStream ({ reply, source, registry, heartbeats }: ReplyInit, settings: RouteSettings): SseStream {
  const { options } = settings
  const intervalMs = options.heartbeatMs || DEFAULT_STALL_MS
  const request = reply.request
  let isAttached = false
  let openedAt = 0
  const stream: SseStream = new SseStream({
    raw: reply.raw,
    options,
    lastEventId: readLastEventId(request),
    encode: encoderFor(settings),
    checkTopics: topics => checkAdmission(request, topics),
    onAttach: () => {
      isAttached = true
      discardBody(request)
      openedAt = performance.now()
      openChannel.publish({ request, stream } satisfies StreamOpenMessage)
      heartbeats.add(stream, intervalMs)
      registry.add(stream)
    },
    onClosed: reason => {
      if (!isAttached) {
        registry.remove(stream)
        dispose(source)
      }
      guard(reply, 'onClose', () => options.onClose?.(reason, stream))
    },
    onOver: reason => {
      logClose({ request, stream, reason, ...stream.written, durationMs: Math.round(performance.now() - openedAt) })
    },
    onGone: () => {
      heartbeats.remove(stream, intervalMs)
      registry.remove(stream)
    }
  })
  registry.add(stream)
  stream.listen()
  return stream
}

/** Streams whose error is in the log: their close is no further trouble. */
const told = new WeakSet<SseStream>()

function logClose (message: StreamCloseMessage): void {
  const { request, stream, reason, events, bytes, durationMs } = message
  closeChannel.publish(message)
  const isTrouble = reason === 'slow' || (reason === 'error' && !told.has(stream))
  request.log[isTrouble ? 'warn' : 'debug']({ sse: { reason, events, bytes, durationMs } }, 'event stream closed')
}

/** What becomes of an error of the source or the handler: before the first byte, and after it. */
function failureHandler (reply: FastifyReply, stream: SseStream, options: ResolvedOptions) {
  return {
    mayRefuse (error: unknown): boolean {
      if (!isErrorStatusToRetry(error) || !isEventSource(reply.request)) return false
      told.add(stream)
      // A limit is there for clients to run into: they must not be able to fill the log.
      const level = (error as { statusCode?: number }).statusCode === 429 ? 'debug' : 'warn'
      reply.log[level](
        { err: error, topics: stream.topics },
        'event stream rejected for now: the client is asked to come back'
      )
      stream.closeWithRetry('error', retryMsAfter())
      return true
    },
    onFailure (error: unknown, what: Failing): void {
      if (!stream.isOpen) {
        // What was cut short may well fail. A handler that has ended its stream by itself has failed at something else.
        const level = what === 'handler' && stream.closeReason === 'end' ? 'error' : 'debug'
        return reply.log[level]({ err: error }, `the ${what} of an event stream failed after the stream was over`)
      }
      told.add(stream)
      reply.log.error({ err: error, topics: stream.topics }, `the ${what} of an event stream failed`)
      const custom = guard(reply, 'onError', () => options.onError?.(error, stream)) ?? undefined
      // As bytes, because its data is JSON whatever the application's serializer makes of its own.
      const report =
        custom ??
        (options.errorEvent === false
          ? undefined
          : { event: options.errorEvent, data: Buffer.from(JSON.stringify(reportOf(error))) })
      guard(reply, 'onError', () => stream.close('error', report))
      stream.close('error')
    }
  }
}

/**
 * Runs the application's callback; what it throws, or a promise it returns rejects with, is logged and harms no one
 * else.
 */
function guard<T> (reply: FastifyReply, name: string, callback: () => T): T | undefined {
  const failed = (err: unknown): undefined =>
    reply.log.error({ err }, `the ${name} callback of an event stream failed`) as undefined
  try {
    const result = callback()
    if (isThenable(result)) result.then(undefined, failed)
    return result
  } catch (err) {
    return failed(err)
  }
}
