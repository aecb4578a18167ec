import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import type { FastifyReply } from 'fastify'
import { busy, ByteBudget } from './byte-budget.ts'
import type { ConnectionCounts } from './connections.ts'
import { whenOver } from './when-over.ts'

export interface PageGateInit {
  /** Bytes of all pages that are being read or sent. One page alone may be larger. */
  maxPagesBytes: number
  /** The largest event: one that is larger than what was asked for comes alone. */
  maxEventBytes: number
  /** How long a client may take to receive a page. */
  sendMs: number
  connections: ConnectionCounts
}

/**
 * Bounds the memory that large responses take together: a request of 100 bytes asks for one of 16 MiB, and a client
 * that does not read it could make the process hold it, and any number of others, for as long as it likes.
 */
export class PageGate {
  readonly #budget: ByteBudget
  readonly #init: PageGateInit

  constructor (init: PageGateInit) {
    this.#budget = new ByteBudget(init.maxPagesBytes)
    this.#init = init
  }

  /**
   * Reserves the bytes of a page until its response is over. Returns what corrects their number when it is known.
   * Throws 503 `SERVICE_BUSY` when there is no room.
   */
  reserve (reply: FastifyReply, maxBytes: number): (bytes: number) => void {
    let reserved = Math.max(maxBytes, this.#init.maxEventBytes)
    if (!this.#budget.take(reserved, 0)) throw busy()
    const timer = setTimeout(() => this.#cut(reply), this.#init.sendMs).unref()
    whenOver(reply, () => {
      clearTimeout(timer)
      this.#budget.giveBack(reserved)
    })
    return bytes => {
      this.#budget.giveBack(reserved - bytes)
      reserved = bytes
    }
  }

  /** Of HTTP/1.1 the connection, as what waits behind the response would wait on. */
  #cut ({ raw, request }: FastifyReply): void {
    this.#init.connections.cut('slow')
    const { stream } = raw as { stream?: ServerHttp2Stream }
    // Without an error the client would go on waiting for the rest.
    if (stream) stream.close(constants.NGHTTP2_CANCEL)
    else request.raw.socket.destroy()
  }
}
