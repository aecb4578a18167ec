import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { ConnectionCounts } from './connections.ts'
import { routableUrl } from './malformed-requests.ts'
import { pathOf } from './quiet-log.ts'

/** Requests that may wait on a connection behind an event stream, which has no end of its own. */
const MAX_BEHIND_STREAM = 8
/** Requests that may wait on a connection before reading from it stops. */
const MAX_WAITING = 64

/** The requests of one connection without a response, if there is more than one. */
interface Line { newest: ServerResponse, waiting: number, hasStream: boolean, isPaused: boolean }

/**
 * Limits what a client can make the process hold by sending requests without waiting for the responses (HTTP/1.1
 * pipelining). Each of them costs about 10 KB until its turn, and no limit on streams counts it. A connection with
 * `MAX_WAITING` requests without a response is not read until some of them have one; a connection that pipelines behind
 * an event stream is closed, because the turn of those requests would never come.
 */
export function boundPipelining (app: FastifyInstance, counts: ConnectionCounts): void {
  const lines = new WeakMap<Socket, Line>()
  app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.httpVersionMajor > 1) return
    const { socket } = request
    const known = lines.get(socket)
    const line = known === undefined || known.newest.closed ? startLine(response) : known
    lines.set(socket, line)
    line.hasStream ||= request.method === 'GET' && isStream(request)
    if (line === known) enqueue({ line, socket, response, counts })
  })
}

/** As the router reads the path: encoded in any way, and perhaps behind the origin. */
function isStream (request: IncomingMessage): boolean {
  return /^(?:https?:\/\/[^/]*)?\/events$/i.test(decodeURIComponent(pathOf(routableUrl(request))))
}

function startLine (newest: ServerResponse): Line {
  return { newest, waiting: 0, hasStream: false, isPaused: false }
}

interface Arrival { line: Line, socket: Socket, response: ServerResponse, counts: ConnectionCounts }

function enqueue ({ line, socket, response, counts }: Arrival): void {
  line.newest = response
  line.waiting++
  response.once('close', () => {
    line.waiting--
    resume(line, socket)
  })
  if (line.hasStream && line.waiting > MAX_BEHIND_STREAM) cut(socket, counts)
  else if (line.waiting === MAX_WAITING) pause(line, socket)
}

function cut (socket: Socket, counts: ConnectionCounts): void {
  if (socket.destroyed) return
  counts.cut('pipelining')
  socket.destroy()
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
