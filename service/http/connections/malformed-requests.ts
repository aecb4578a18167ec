import { maxHeaderSize, METHODS } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { show } from 'fastify-resumable-sse'
import type { BodyLimits } from '../bodies/bodies.ts'
import { errors } from '../../errors.ts'
import { isLive } from '../bodies/live-requests.ts'
import { checkHook } from '../check-hook.ts'
import { pathOf } from '../quiet-log.ts'
import { errorBodyOf } from '../error-body.ts'

/**
 * Handles requests that reach no route. Node and Fastify would respond to them themselves, each in a different format.
 */
export function handleMalformed (
  app: FastifyInstance,
  limits: Pick<BodyLimits, 'maxBodyBytes' | 'maxBatchBytes'>
): void {
  app.addHook('onRequest', rejectAmbiguous)
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    const maxBytes = request.headers['content-type']?.startsWith('application/x-ndjson')
      ? limits.maxBatchBytes
      : limits.maxBodyBytes
    if (Number(request.headers['content-length']) > maxBytes && !LIVE_PATH.test(request.url!)) {
      return answer(response, new errors.SERVICE_BODY_TOO_LARGE(maxBytes))
    }
    response.writeContinue()
    app.server.emit('request', request, response)
  })
  app.server.on('request', (request: IncomingMessage, response: ServerResponse) =>
    answers.set(request.socket, { request, response })
  )
  rejectExpectations(app)
}

/**
 * Node passes a request with an unknown expectation to a listener of its own. It is passed on, so that it counts as any
 * other request that waits for its turn.
 */
function rejectExpectations (app: FastifyInstance): void {
  const unexpected = new WeakSet<object>()
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    unexpected.add(request)
    app.server.emit('request', request, response)
  })
  app.addHook('onRequest', ({ raw }, reply, done) => {
    if (!unexpected.has(raw)) return done()
    // The client may or may not send its body.
    if (raw.httpVersionMajor === 1) reply.header('connection', 'close')
    done(new errors.SERVICE_BAD_EXPECTATION(show(raw.headers.expect)))
  })
}

/** Tested before routing. A wrong guess costs only a body the size of the connection's buffers. */
const LIVE_PATH = /\/producer(?:\?|$)/

/** The newest request and response on each connection. */
const answers = new WeakMap<Socket, { request: IncomingMessage, response: ServerResponse }>()

/**
 * For Fastify's option `clientErrorHandler`: the response to bytes that are not a request, and to a request that is not
 * complete in time.
 */
export function onClientError (error: Error & { code?: string, reason?: string }, socket: Socket): void {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && isLive(answers.get(socket)?.request)) return
  if (socket.writable && error.code !== 'ECONNRESET' && mayAnswer(socket)) socket.write(rawAnswer(parserError(error)))
  socket.destroy()
}

/**
 * A response that has begun would be corrupted by another one; and if a complete request is waiting for its response,
 * the error would be mistaken for that response, although the request may well succeed. A response has no socket until
 * those before it have been sent.
 */
function mayAnswer (socket: Socket): boolean {
  const newest = answers.get(socket)
  if (newest === undefined) return true
  const { request, response } = newest
  // The rest of an incomplete request belongs to the response that it has, if it has one.
  return request.complete ? response.writableFinished : response.socket === socket && !response.headersSent
}

function parserError ({ code, reason }: { code?: string, reason?: string }): Error {
  switch (code ?? '') {
    case 'ERR_HTTP_REQUEST_TIMEOUT': return new errors.SERVICE_TIMEOUT()
    case 'HPE_HEADER_OVERFLOW': return new errors.SERVICE_HEADERS_TOO_LARGE(maxHeaderSize)
    default: return new errors.SERVICE_BAD_REQUEST(reason ?? 'it is not HTTP')
  }
}

function rawAnswer (error: Error): string {
  const content = errorBodyOf(error)
  const body = JSON.stringify(content)
  return [
    `HTTP/1.1 ${content.statusCode} ${content.error}`,
    'connection: close',
    'content-type: application/json; charset=utf-8',
    'cache-control: no-store',
    'x-content-type-options: nosniff',
    `content-length: ${Buffer.byteLength(body)}`,
    '',
    body
  ].join('\r\n')
}

function answer (response: ServerResponse, error: Error): void {
  const content = errorBodyOf(error)
  if (response.req.httpVersionMajor === 1) response.setHeader('connection', 'close')
  response.writeHead(content.statusCode, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff'
  })
  response.end(JSON.stringify(content))
}

/**
 * The path to which a URL that cannot be decoded is rewritten, so that it is rejected as any other request is: with all
 * hooks and headers.
 */
const UNREADABLE = '/.unreadable'

/**
 * The path to which a method unknown to the router is rewritten (over HTTP/2 it may be any text): Fastify would log its
 * routes.
 */
const UNKNOWN_METHOD = '/.unknown-method/'
const KNOWN_METHODS: ReadonlySet<string | undefined> = new Set(METHODS)
const ALLOWED = 'GET, HEAD, POST, PUT, DELETE, OPTIONS'

/**
 * For Fastify's option `rewriteUrl`: Fastify would respond to such requests itself, before any hook and in a different
 * format.
 */
export function routableUrl (request: { method?: string | undefined, url?: string | undefined }): string {
  const { method, url = '/' } = request
  if (KNOWN_METHODS.has(method)) return readableUrl(url)
  request.method = 'GET'
  return `${UNKNOWN_METHOD}${encodeURIComponent(String(method))}`
}

function readableUrl (url: string): string {
  try {
    if (url.includes('%')) decodeURIComponent(pathOf(url))
    return url
  } catch {
    return UNREADABLE
  }
}

/**
 * Throws 404, or 400 if the path could not be decoded. Omits the query, which may contain what no message and no log
 * should.
 */
export function rejectPath ({ method, url, originalUrl }: FastifyRequest, reply: FastifyReply): FastifyReply {
  // RFC 9110, 9.3.7: about the server as a whole.
  if (method === 'OPTIONS' && originalUrl === '*') return reply.header('allow', ALLOWED).code(204).send()
  // A client may also request these very paths.
  if (url === originalUrl) throw new errors.SERVICE_NO_SUCH_PATH(pathOf(url) + hintAt(pathOf(url)))
  if (url.startsWith(UNKNOWN_METHOD)) {
    reply.header('allow', ALLOWED)
    throw new errors.SERVICE_METHOD_NOT_ALLOWED(
      pathOf(originalUrl),
      ALLOWED,
      show(decodeURIComponent(url.slice(UNKNOWN_METHOD.length)))
    )
  }
  throw new errors.SERVICE_BAD_REQUEST(`its path ${show(pathOf(originalUrl))} has invalid percent-encoding`)
}

/** A name such as `orders/7` is one segment of a path. */
function hintAt (path: string): string {
  return /^\/topics\/[^/]+\/.*[^/]$/.test(path) ? ': write a slash in the name of a topic as %2F' : ''
}

/** HTTP/1.1 requires Host; Node's own response to a request without it has no body. */
const rejectAmbiguous = checkHook(({ raw }) => {
  if (raw.httpVersion === '1.1' && raw.headers.host === undefined) {
    throw new errors.SERVICE_BAD_REQUEST('the header Host is missing')
  }
  // RFC 9112, 3.2. Node uses the first one, but a proxy in front of the service may have used another.
  if (hostsIn(raw.rawHeaders) > 1) throw new errors.SERVICE_BAD_REQUEST('the header Host is repeated')
  rejectCoding(raw.headers['transfer-encoding'])
})

/** RFC 9112, 6.1. Node removes the chunks, but would pass on what is in them as if it were not compressed. */
function rejectCoding (coding = 'chunked'): void {
  if (coding.toLowerCase() === 'chunked') return
  throw new errors.SERVICE_BAD_REQUEST(
    `Transfer-Encoding must be chunked, saw ${show(coding)}: a compressed body is sent with Content-Encoding`
  )
}

/** `names` is a list in which values follow names. */
function hostsIn (names: readonly string[]): number {
  let hosts = 0
  for (let at = 0; at < names.length; at += 2) {
    if (names[at]!.length === 4 && names[at]!.toLowerCase() === 'host') hosts++
  }
  return hosts
}
