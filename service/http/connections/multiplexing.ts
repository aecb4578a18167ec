import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2Session, ServerHttp2Stream } from 'node:http2'
import type { TurnQueue } from './turn-queue.ts'

/** What Fastify does with a request. */
export type Handle = (request: IncomingMessage, response: ServerResponse) => void

export type Http2Request = IncomingMessage & { readonly stream: ServerHttp2Stream }

/**
 * Handles the requests that an HTTP/2 client sends at once, up to a thousand on each connection, a few milliseconds at
 * a time, so that other clients do not wait for all of them. In each turn of the event loop the first request of a
 * connection on which none waits is handled at once, whatever others have sent; the rest wait in the queue. All of a
 * connection are handled in the order in which they were sent: it is the order in which publishes are stored. A request
 * that its client has cancelled by then ("rapid reset") is not handled at all.
 */
export class Multiplexing {
  readonly #queue: TurnQueue
  /** The connections that have had a request in this turn. */
  readonly #served = new Set<Http2Session>()

  constructor (queue: TurnQueue) {
    this.#queue = queue
  }

  /** Calls `handle` when it is the turn of the request. */
  add (request: Http2Request, response: ServerResponse, handle: Handle): void {
    const { stream } = request
    const { session } = stream
    // Without a session it was cancelled already.
    if (session === undefined) return
    const run = (): void => { if (!stream.closed) handle(request, response) }
    if (this.#served.has(session) || this.#queue.has(session)) return this.#queue.add(session, run)
    this.#serve(session)
    run()
  }

  #serve (session: Http2Session): void {
    if (this.#served.size === 0) setImmediate(() => this.#served.clear())
    this.#served.add(session)
  }
}
