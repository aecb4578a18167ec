import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { busy, ByteBudget } from './bodies/byte-budget.ts'
import type { ConnectionCounts } from './connections/connections.ts'
import { whenOver } from './connections/when-over.ts'

/** Smaller responses, such as error messages, are not counted: the buffers of the connection are larger. */
const SMALL_BYTES = 8 * 1024

export interface ResponseGateInit {
  /** Maximum bytes of all large responses that are being created or sent. A single one may be larger. */
  maxBytes: number
  /** How long a client may take to receive a large response. */
  sendMs: number
  connections: ConnectionCounts
}

/** The bytes that a response has reserved. */
interface Reservation { bytes: number }

/**
 * Limits the memory that large responses use together: a request of 100 bytes can ask for 16 MiB of history, or for the
 * OpenAPI document 1,000 times over one connection, and a client that does not read could make the process keep all of
 * it indefinitely. Event streams have limits of their own.
 */
export class ResponseGate {
  readonly #budget: ByteBudget
  readonly #init: ResponseGateInit
  readonly #reserved = new WeakMap<FastifyReply, Reservation>()

  /** Counts each response of the app once its size is known. */
  constructor (app: FastifyInstance, init: ResponseGateInit) {
    this.#budget = new ByteBudget(init.maxBytes)
    this.#init = init
    app.addHook('onSend', (request, reply, payload, done) => {
      if (typeof payload === 'string' || Buffer.isBuffer(payload)) this.#count(reply, payload.length)
      done()
    })
  }

  /**
   * Reserves bytes for a response that is about to be created, until it has been sent; from then on its actual size
   * counts. Throws 503 `SERVICE_BUSY` if there is no room.
   */
  reserve (reply: FastifyReply, bytes: number): void {
    if (!this.#budget.take(bytes, 0)) throw busy()
    const reservation = { bytes }
    this.#reserved.set(reply, reservation)
    const timer = setTimeout(() => this.#cut(reply), this.#init.sendMs).unref()
    whenOver(reply, () => {
      clearTimeout(timer)
      this.#reserved.delete(reply)
      this.#budget.giveBack(reservation.bytes)
    })
  }

  #count (reply: FastifyReply, bytes: number): void {
    const reservation = this.#reserved.get(reply)
    if (reservation === undefined) {
      if (bytes > SMALL_BYTES) this.reserve(reply, bytes)
      return
    }
    this.#budget.giveBack(reservation.bytes - bytes)
    reservation.bytes = bytes
  }

  /** With HTTP/1.1 closes the connection, because any responses behind this one would wait, too. */
  #cut ({ raw, request }: FastifyReply): void {
    this.#init.connections.cut('slow')
    const { stream } = raw as { stream?: ServerHttp2Stream }
    // Without an error code the client would keep waiting for the rest.
    if (stream) stream.close(constants.NGHTTP2_CANCEL)
    else request.raw.socket.destroy()
  }
}
