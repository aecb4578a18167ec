import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { ConnectionCounts } from './connections.ts'
import { routableUrl } from './malformed-requests.ts'
import { pathOf } from '../quiet-log.ts'

/** Maximum number of requests that may wait on a connection after an event stream, which never ends by itself. */
const MAX_BEHIND_STREAM = 8
/** Maximum number of requests that may wait on a connection before it is no longer read. */
const MAX_WAITING = 64
/**
 * Maximum number of requests that may wait on all connections together. Data that a connection has received is parsed
 * completely, even after reading has stopped: 64 KiB can contain 1,500 requests, which take 2 MB.
 */
const MAX_WAITING_TOGETHER = 10_000

/** The requests of one connection that have no response yet, if there is more than one. */
interface Line { newest: ServerResponse, waiting: number, hasStream: boolean, isPaused: boolean }

/**
 * Limits the memory that a client can occupy by sending requests without waiting for the responses (HTTP/1.1
 * pipelining). Each request costs about 10 KB until its turn, and the stream limits do not count it. A connection with
 * `MAX_WAITING` requests without a response is not read until some of them have one. A connection that pipelines after
 * an event stream is closed, because the turn of those requests would never come; so is a connection that exceeds the
 * limit of all connections together.
 */
export function boundPipelining (
  app: FastifyInstance,
  counts: ConnectionCounts,
  maxTogether = MAX_WAITING_TOGETHER
): void {
  const pipelining = new Pipelining(counts, maxTogether)
  app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.httpVersionMajor === 1) pipelining.add(request, response)
  })
}

class Pipelining {
  readonly #counts: ConnectionCounts
  readonly #lines = new WeakMap<Socket, Line>()
  readonly #maxTogether: number
  #waiting = 0

  constructor (counts: ConnectionCounts, maxTogether: number) {
    this.#counts = counts
    this.#maxTogether = maxTogether
  }

  add (request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const known = this.#lines.get(socket)
    const line = known === undefined || known.newest.closed ? this.#startLine(socket, response) : known
    line.hasStream ||= request.method === 'GET' && isStream(request)
    if (line === known) this.#enqueue(line, socket, response)
  }

  #startLine (socket: Socket, newest: ServerResponse): Line {
    const line = { newest, waiting: 0, hasStream: false, isPaused: false }
    // Waiting responses emit nothing when their connection closes.
    if (!this.#lines.has(socket)) socket.once('close', () => this.#leave(this.#lines.get(socket)!))
    this.#lines.set(socket, line)
    return line
  }

  #enqueue (line: Line, socket: Socket, response: ServerResponse): void {
    line.newest = response
    line.waiting++
    this.#waiting++
    response.once('close', () => {
      if (socket.destroyed) return
      line.waiting--
      this.#waiting--
      resume(line, socket)
    })
    const isTooMuch = (line.hasStream && line.waiting > MAX_BEHIND_STREAM) || this.#waiting > this.#maxTogether
    if (isTooMuch) this.#cut(socket)
    else if (line.waiting === MAX_WAITING) pause(line, socket)
  }

  #leave (line: Line): void {
    this.#waiting -= line.waiting
    line.waiting = 0
  }

  #cut (socket: Socket): void {
    if (socket.destroyed) return
    this.#counts.cut('pipelining')
    socket.destroy()
  }
}

/** Parses the path as the router does: encoded in any way, and possibly after an origin. */
function isStream (request: IncomingMessage): boolean {
  return /^(?:https?:\/\/[^/]*)?\/events$/i.test(decodeURIComponent(pathOf(routableUrl(request))))
}

function pause (line: Line, socket: Socket): void {
  line.isPaused = true
  socket.pause()
}

function resume (line: Line, socket: Socket): void {
  if (!line.isPaused || line.waiting >= MAX_WAITING) return
  line.isPaused = false
  socket.resume()
}
