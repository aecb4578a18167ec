import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { errors } from '../errors.ts'
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

/** Reports the size of a response that is being prepared. */
export type Grow = (bytes: number) => void

/** The bytes that a response has reserved, and how many need them: its preparation and its sending. */
interface Reservation { bytes: number, uses: number }

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
   * Reserves bytes for a response, and prepares it; from then on its actual size counts. `prepare` calls `grow` with
   * the size so far. The bytes stay reserved until it has settled, even if the client disconnects: what it has read is
   * in memory until then. Rejects with 503 `SERVICE_BUSY` if there is no room.
   */
  async prepare<T> (reply: FastifyReply, bytes: number, prepare: (grow: Grow) => Promise<T>): Promise<T> {
    const reservation = this.#reserve(reply, bytes)
    reservation.uses++
    try {
      return await prepare(size => this.#grow(reservation, size))
    } finally {
      this.#release(reservation)
    }
  }

  /** Until the response has been sent. Throws 503 `SERVICE_BUSY` if there is no room. */
  #reserve (reply: FastifyReply, bytes: number): Reservation {
    if (!this.#budget.take(bytes, 0)) throw busy()
    const reservation = { bytes, uses: 1 }
    this.#reserved.set(reply, reservation)
    const timer = setTimeout(() => this.#cut(reply), this.#init.sendMs).unref()
    whenOver(reply, () => {
      clearTimeout(timer)
      this.#reserved.delete(reply)
      this.#release(reservation)
    })
    return reservation
  }

  /** Called with the size of the response so far. Throws if there is no room, or nobody waits for it any more. */
  #grow (reservation: Reservation, bytes: number): void {
    if (reservation.uses === 1) throw new errors.SERVICE_ABORTED()
    if (bytes <= reservation.bytes) return
    if (!this.#budget.take(bytes - reservation.bytes, reservation.bytes)) throw busy()
    reservation.bytes = bytes
  }

  #release (reservation: Reservation): void {
    if (--reservation.uses === 0) this.#budget.giveBack(reservation.bytes)
  }

  #count (reply: FastifyReply, bytes: number): void {
    const reservation = this.#reserved.get(reply)
    if (reservation === undefined) {
      if (bytes > SMALL_BYTES) this.#reserve(reply, bytes)
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
