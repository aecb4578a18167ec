import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { Multiplexing } from './multiplexing.ts'
import type { Handle, Http2Request } from './multiplexing.ts'
import { TurnQueue } from './turn-queue.ts'
import type { ConnectionCounts } from './connections.ts'
import { spareBusy } from './idle-connections.ts'
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
interface Line { newest: ServerResponse, waiting: number, hasStream: boolean, isPaused: boolean, isEnding: boolean }

/**
 * Limits the memory that a client can occupy by sending requests without waiting for the responses (HTTP/1.1
 * pipelining). Each request costs about 2 KB until its turn, and the stream limits do not count it. A connection with
 * `MAX_WAITING` requests without a response is not read until some of them have one. A connection that pipelines after
 * an event stream is closed, because the turn of those requests would never come; so is a connection that exceeds the
 * limit of all connections together.
 *
 * Requests that did not wait are handled a few milliseconds at a time: those that 20 connections send at once would
 * otherwise keep all other clients waiting for seconds. Until then Fastify does not see them: that takes twice the time
 * and memory of parsing them.
 */
export function boundPipelining (
  app: FastifyInstance,
  counts: ConnectionCounts,
  maxTogether = MAX_WAITING_TOGETHER
): void {
  const queue = new TurnQueue()
  const pipelining = new Pipelining(counts, maxTogether, queue)
  const multiplexing = new Multiplexing(queue)
  spareBusy(app, () => pipelining.busy())
  // Fastify's own, which spends most of the time and memory of a small request.
  const [handle] = app.server.listeners('request') as [Handle]
  app.server.removeListener('request', handle)
  app.server.prependListener('request', (request: IncomingMessage | Http2Request, response: ServerResponse) => {
    // Not by its version: a request line may say HTTP/2.0, too.
    if ('stream' in request) multiplexing.add(request, response, handle)
    else pipelining.add(request, response, handle)
  })
}

class Pipelining {
  readonly #counts: ConnectionCounts
  readonly #lines = new Map<Socket, Line>()
  readonly #maxTogether: number
  readonly #queue: TurnQueue
  #waiting = 0

  constructor (counts: ConnectionCounts, maxTogether: number, queue: TurnQueue) {
    this.#counts = counts
    this.#maxTogether = maxTogether
    this.#queue = queue
  }

  /** Calls `handle` when it is the turn of the request: at once if it waited for the response before it. */
  add (request: IncomingMessage, response: ServerResponse, handle: Handle): void {
    const { socket } = request
    const known = this.#lines.get(socket)
    // What was received together with the requests for which the connection was closed, or is about to be.
    if (socket.destroyed || known?.isEnding === true) return
    const line = known === undefined || known.newest.closed ? this.#startLine(socket, response) : known
    line.hasStream ||= request.method === 'GET' && isStream(request)
    const run = (): void => {
      // Nobody would get the response, and nothing has begun yet.
      if (socket.destroyed || line.isEnding) return
      handle(request, response)
      if (line.newest !== response) return keepOpen(response)
      line.isEnding = response.getHeader('connection') === 'close'
    }
    if (line !== known) return run()
    this.#enqueue(line, socket, response)
    this.#queue.add(socket, run)
  }

  /** The connections with requests that have no complete response. */
  * busy (): Generator<Socket> {
    for (const [socket, { newest }] of this.#lines) if (!newest.closed) yield socket
  }

  #startLine (socket: Socket, newest: ServerResponse): Line {
    const line = { newest, waiting: 0, hasStream: false, isPaused: false, isEnding: false }
    // Waiting responses emit nothing when their connection closes.
    if (!this.#lines.has(socket)) {
      socket.once('close', () => this.#leave(socket))
      // Node resumes it with every response.
      socket.on('resume', () => { if (this.#lines.get(socket)?.isPaused === true) socket.pause() })
    }
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

  #leave (socket: Socket): void {
    this.#waiting -= this.#lines.get(socket)!.waiting
    this.#lines.delete(socket)
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

/**
 * While the app closes, Fastify ends the connection after any response. The requests that wait behind this one are
 * handled, too, and would get none.
 */
function keepOpen (response: ServerResponse): void {
  if (!response.headersSent) response.removeHeader('connection')
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
