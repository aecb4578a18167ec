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

/** After the drain, connections that were opened meanwhile are looked for at this interval. */
const SWEEP_MS = 250

type Connection = Socket | Http2Session
type RawRequest = IncomingMessage & { readonly stream?: ServerHttp2Stream }

/** The socket under TLS. Not public, but Node has set it since TLS sockets exist. */
interface Layered { readonly _parent: Socket }

/**
 * The connections of a server, to close those that would hold `app.close()` although nobody waits for a response on
 * them. Node closes only HTTP/1.1 connections that are idle at one moment. It waits 70 s for one that never sent a byte
 * or becomes idle later, minutes for a TLS handshake, and without any limit for half a request or an idle HTTP/2
 * session.
 *
 * A complete request is waited for, as Fastify does. Sockets of other protocols (WebSocket, CONNECT) are left to
 * whoever handles them.
 */
export class OpenConnections {
  /**
   * With the requests that are being answered on each. For HTTP/2 the session, with TLS the socket inside, never the
   * one below.
   */
  readonly #requests = new Map<Connection, Set<RawRequest>>()
  #isClosing = false

  constructor ({ server }: FastifyInstance) {
    if (!isPlainHttp2(server)) server.on('connection', (socket: Socket) => this.#add(socket))
    server.on('secureConnection', (socket: TLSSocket & Layered) => {
      this.#requests.delete(socket._parent)
      if (socket.alpnProtocol !== 'h2') this.#add(socket)
    })
    server.on('session', (session: Http2Session) => this.#add(session))
    server.on('request', (request: RawRequest, response: RawResponse) => this.#watch(request, response))
    // Node hands a socket over only where somebody listens, and so does this class.
    for (const event of ['upgrade', 'connect']) {
      const handOver = (request: IncomingMessage, socket: Socket): void => { this.#requests.delete(socket) }
      onceListened(server, event, () => server.on(event, handOver))
    }
  }

  /**
   * From now on a connection is closed when its last response has been sent. Closes those on which nothing was sent,
   * and idle sessions.
   */
  closeIdle (): void {
    this.#isClosing = true
    for (const connection of this.#requests.keys()) {
      if (!isSocket(connection)) connection.close()
      else if (connection.bytesRead === 0) connection.destroy()
    }
  }

  /**
   * After `drainMs`, and at an interval from then on, destroys connections without a complete request. Returns how to
   * stop it.
   */
  destroyAfter (drainMs: number): () => void {
    let timer = setTimeout(() => {
      this.#destroyIncomplete()
      timer = setInterval(() => this.#destroyIncomplete(), SWEEP_MS)
    }, drainMs)
    return () => clearTimeout(timer)
  }

  #add (connection: Connection): void {
    this.#requests.set(connection, new Set())
    connection.once('close', () => this.#requests.delete(connection))
  }

  #watch (request: RawRequest, response: RawResponse): void {
    const connection = response.stream?.session ?? request.socket
    const requests = this.#requests.get(connection)
    requests?.add(request)
    response.once('close', () => {
      requests?.delete(request)
      if (this.#isClosing && requests?.size === 0 && isSocket(connection)) connection.destroySoon()
    })
  }

  #destroyIncomplete (): void {
    for (const [connection, requests] of this.#requests) {
      if ([...requests].some(isComplete)) continue
      if (isSocket(connection)) connection.destroy()
      else destroyConnection(connection)
    }
  }
}

/**
 * A server of HTTP/2 without TLS accepts nothing else: each of its sockets belongs to a session from its first moment.
 */
function isPlainHttp2 (server: object): boolean {
  return !(server instanceof HttpServer || server instanceof TlsServer)
}

/**
 * True when the request has come to its end. `complete` of HTTP/2 is true only when the body has been read, which that
 * of a GET never is.
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
