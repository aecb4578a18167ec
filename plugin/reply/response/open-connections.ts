import { Server as HttpServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { constants } from 'node:http2'
import type { Http2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { destroyConnection } from './transport.ts'
import type { RawResponse } from './transport.ts'

/** After the drain, this is the interval at which connections opened meanwhile are looked for. */
const SWEEP_MS = 250

type Connection = Socket | Http2Session
type RawRequest = IncomingMessage & { readonly stream?: ServerHttp2Stream }

/** The socket underneath TLS. Not public, but Node has set it as long as TLS sockets have existed. */
interface Layered { readonly _parent: Socket }

/**
 * The connections of a server, in order to close those that would delay `app.close()` although nobody waits for a
 * response on them. Node closes only HTTP/1.1 connections that are idle at that moment. It waits 70 s for one that
 * never sends a byte or becomes idle later, minutes for a TLS handshake, and indefinitely for an incomplete request or
 * an idle HTTP/2 session.
 *
 * Complete requests are waited for, as Fastify does. Sockets of other protocols (WebSocket, CONNECT) are left to their
 * handlers.
 */
export class OpenConnections {
  /**
   * With the requests that are being answered on each; mostly it is one, which is kept without a set. For HTTP/2 the
   * session, with TLS the socket inside, never the one below.
   */
  readonly #requests = new Map<Connection, RawRequest | Set<RawRequest> | undefined>()
  #isClosing = false

  constructor ({ server }: FastifyInstance) {
    if (!isPlainHttp2(server)) server.on('connection', (socket: Socket) => this.#add(socket))
    server.on('secureConnection', (socket: TLSSocket & Layered) => {
      this.#requests.delete(socket._parent)
      if (socket.alpnProtocol !== 'h2') this.#add(socket)
    })
    server.on('session', (session: Http2Session) => this.#add(session))
    server.on('request', (request: RawRequest, response: RawResponse) => this.#watch(request, response))
    // Node passes a socket on only if there is a listener, so this class adds one only then, too.
    for (const event of ['upgrade', 'connect']) {
      const handOver = (request: IncomingMessage, socket: Socket): void => { this.#requests.delete(socket) }
      onceListened(server, event, () => server.on(event, handOver))
    }
  }

  /**
   * From now on a connection is closed when its last response has been sent. Immediately closes connections on which
   * nothing was sent, and idle sessions.
   */
  closeIdle (): void {
    this.#isClosing = true
    for (const connection of this.#requests.keys()) {
      if (!isSocket(connection)) connection.close()
      else if (connection.bytesRead === 0) connection.destroy()
    }
  }

  /**
   * After `drainMs`, and periodically from then on, destroys connections without a complete request. Returns a function
   * that stops this.
   */
  destroyAfter (drainMs: number): () => void {
    let timer = setTimeout(() => {
      this.#destroyIncomplete()
      timer = setInterval(() => this.#destroyIncomplete(), SWEEP_MS)
    }, drainMs)
    return () => clearTimeout(timer)
  }

  #add (connection: Connection): void {
    this.#requests.set(connection, undefined)
    connection.on('close', () => this.#requests.delete(connection))
  }

  #watch (request: RawRequest, response: RawResponse): void {
    const connection = response.stream?.session ?? request.socket
    if (!this.#requests.has(connection)) return
    this.#begin(connection, request)
    // `once` would take twice the memory for as long as a stream lasts.
    response.on('close', () => this.#end(connection, request))
  }

  #begin (connection: Connection, request: RawRequest): void {
    const known = this.#requests.get(connection)
    if (known instanceof Set) known.add(request)
    else this.#requests.set(connection, known === undefined ? request : new Set([known, request]))
  }

  /** The connection may be gone already, or have been handed over. */
  #end (connection: Connection, request: RawRequest): void {
    const known = this.#requests.get(connection)
    if (known instanceof Set && known.delete(request) && known.size > 0) return
    if (known === undefined) return
    this.#requests.set(connection, undefined)
    if (this.#isClosing && isSocket(connection)) connection.destroySoon()
  }

  #destroyIncomplete (): void {
    for (const [connection, known] of this.#requests) {
      if (requestsOf(known).some(isComplete)) continue
      if (isSocket(connection)) connection.destroy()
      else destroyConnection(connection)
    }
  }
}

/** An HTTP/2 server without TLS accepts nothing else: each of its sockets belongs to a session from the start. */
function isPlainHttp2 (server: object): boolean {
  return !(server instanceof HttpServer || server instanceof TlsServer)
}

function requestsOf (known: RawRequest | Set<RawRequest> | undefined): RawRequest[] {
  if (known instanceof Set) return [...known]
  return known === undefined ? [] : [known]
}

/**
 * True if the request has been received completely. `complete` of HTTP/2 is true only when the body has been read,
 * which never happens for a GET.
 */
function isComplete ({ stream, complete }: RawRequest): boolean {
  return stream ? !stream.destroyed && stream.state.state !== constants.NGHTTP2_STREAM_STATE_OPEN : complete
}

function isSocket (connection: Connection): connection is Socket {
  return 'bytesRead' in connection
}

/** Calls back once an event has a listener. */
function onceListened (server: FastifyInstance['server'], event: string, callback: () => void): void {
  if (server.listenerCount(event) > 0) return callback()
  const notice = (name: string | symbol): void => {
    if (name !== event) return
    server.off('newListener', notice)
    callback()
  }
  server.on('newListener', notice)
}
