import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import { Transform } from 'node:stream'
import type { TransformCallback } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest, RequestPayload } from 'fastify'
import fp from 'fastify-plugin'
import { errors } from '../../errors.ts'
import { busy } from './byte-budget.ts'
import type { ByteBudget } from './byte-budget.ts'
import { ChunkJoiner } from './chunk-joiner.ts'
import { BODYLESS } from './inflate.ts'
import { whenOver } from '../connections/when-over.ts'

/** A body of HTTP/1.1 that declares no larger size is not counted: the buffers of its connection are larger. */
const SMALL_BYTES = 16 * 1024

/** Over HTTP/2 a request is a stream. */
type RawRequest = IncomingMessage & { readonly stream?: ServerHttp2Stream }
type Http2Response = ServerResponse & { readonly stream: ServerHttp2Stream }

export interface BodyGateInit {
  /** Bytes of all bodies that are being received or processed, after decompression. */
  budget: ByteBudget
  /** How long the body of an HTTP/2 request may take; Node enforces the limit for HTTP/1.1. */
  requestMs: number
}

/**
 * Limits the memory that all bodies in progress use together, and the time that those of HTTP/2 take.
 */
async function gateBodies (app: FastifyInstance, { budget, requestMs }: BodyGateInit): Promise<void> {
  app.addHook('preParsing', (request, reply, payload, done) => {
    // The bytes of a live body are counted separately, because its events are passed on before its end.
    if (isHarmless(request, payload) || request.routeOptions.config.isLive === true) return done()
    // A body that is not read would stay in memory for as long as the response lasts, and an event stream does not end.
    if (BODYLESS.has(request.method)) return done(null, payload.resume())
    const gate = new BodyGate(payload, budget)
    if ('stream' in reply.raw) timeBody(gate, reply, requestMs)
    whenOver(reply, () => gate.giveBack())
    done(null, payload.pipe(gate))
  })
}

/** After inflation, so that the decompressed size of a body counts. */
export const bodyGate = fp(gateBodies, { name: 'service-body-gate', dependencies: ['service-inflate'] })

/** A request without a body, or with a small uncompressed body of HTTP/1.1 that is read. */
function isHarmless ({ raw, method, headers }: FastifyRequest, payload: RequestPayload): boolean {
  const { stream } = raw as RawRequest
  // HTTP/2 itself limits how much is buffered unread: the window of a stream.
  if (stream !== undefined) return BODYLESS.has(method) || stream.endAfterHeaders
  if (headers['transfer-encoding'] !== undefined) return false
  return payload === raw && Number(headers['content-length'] ?? 0) <= (BODYLESS.has(method) ? 0 : SMALL_BYTES)
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True if the body may take any length of time. */
    isLive?: boolean
  }
}

/** Responds with 408 to a body that is not complete in time, and stops reading it. */
function timeBody (gate: BodyGate, reply: FastifyReply, requestMs: number): void {
  const { stream } = reply.raw as Http2Response
  const timer = setTimeout(() => gate.destroy(new errors.SERVICE_TIMEOUT()), requestMs).unref()
  reply.raw.once('close', () => clearTimeout(timer))
  // The response is complete, so nothing reads the rest of the body. Node keeps a closed stream, and with it the
  // session, until its data has been read: a byte that arrived while the gate was being destroyed stayed in a paused
  // stream indefinitely.
  stream.once('finish', () => {
    if (stream.readableEnded) return
    stream.close(constants.NGHTTP2_NO_ERROR)
    reply.request.raw.resume()
  })
}

/** Passes a body on and counts its bytes until the response is sent. Joins small chunks. */
class BodyGate extends Transform {
  readonly #joiner = new ChunkJoiner()
  readonly #payload: RequestPayload
  readonly #budget: ByteBudget
  #bytes = 0

  constructor (payload: RequestPayload, budget: ByteBudget) {
    super()
    this.#payload = payload
    this.#budget = budget
    // There is no other listener if the response was sent before the body arrived.
    this.on('error', () => {})
    payload.on('error', error => { this.destroy(error) })
  }

  /** Bytes on the wire; Fastify compares them with Content-Length. */
  get receivedEncodedLength (): number { return this.#payload.receivedEncodedLength ?? this.#bytes }

  giveBack (): void {
    this.#budget.giveBack(this.#bytes)
    this.#bytes = 0
    this.destroy()
  }

  override _transform (chunk: Buffer, encoding: BufferEncoding, done: TransformCallback): void {
    if (!this.#budget.take(chunk.length, this.#bytes)) return done(busy())
    this.#bytes += chunk.length
    for (const joined of this.#joiner.add(chunk)) this.push(joined)
    done()
  }

  override _flush (done: TransformCallback): void {
    for (const joined of this.#joiner.flush()) this.push(joined)
    done()
  }
}
