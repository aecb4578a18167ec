import { maxHeaderSize, METHODS } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { show } from 'fastify-resumable-sse'
import type { BodyLimits } from './bodies.ts'
import { errors } from '../errors.ts'
import { pathOf } from './quiet-log.ts'
import { refusalOf } from './error-body.ts'

/** Requests that come to no route. Node and Fastify answer them by themselves, each in its own shape. */
export function refuseUnread (app: FastifyInstance, limits: Pick<BodyLimits, 'maxBodyBytes' | 'maxBatchBytes'>): void {
  app.addHook('onRequest', refuseWithoutHost)
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    const maxBytes = request.headers['content-type']?.startsWith('application/x-ndjson')
      ? limits.maxBatchBytes
      : limits.maxBodyBytes
    if (Number(request.headers['content-length']) > maxBytes) {
      return answer(response, new errors.SERVICE_BODY_TOO_LARGE(maxBytes))
    }
    response.writeContinue()
    app.server.emit('request', request, response)
  })
  app.server.on('request', (request: IncomingMessage, response: ServerResponse) =>
    answers.set(request.socket, { request, response })
  )
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    answer(response, new errors.SERVICE_BAD_EXPECTATION(show(request.headers.expect)))
  })
}

/** The newest exchange on each connection. */
const answers = new WeakMap<Socket, { request: IncomingMessage, response: ServerResponse }>()

/** For Fastify's option: what it answers to bytes that are no request, and to one that does not come to its end. */
export function onClientError (error: Error & { code?: string, reason?: string }, socket: Socket): void {
  if (socket.writable && error.code !== 'ECONNRESET' && mayAnswer(socket)) socket.write(rawAnswer(parserRefusal(error)))
  socket.destroy()
}

/**
 * An answer that has begun would be cut by another one; and where a whole request waits for its answer, this one would
 * be taken for it, while what was asked for may well be done.
 */
function mayAnswer (socket: Socket): boolean {
  const newest = answers.get(socket)
  return (
    newest === undefined ||
    newest.response.writableFinished ||
    !(newest.response.headersSent || newest.request.complete)
  )
}

function parserRefusal ({ code, reason }: { code?: string, reason?: string }): Error {
  switch (code ?? '') {
    case 'ERR_HTTP_REQUEST_TIMEOUT': return new errors.SERVICE_TIMEOUT()
    case 'HPE_HEADER_OVERFLOW': return new errors.SERVICE_HEADERS_TOO_LARGE(maxHeaderSize)
    default: return new errors.SERVICE_BAD_REQUEST(reason ?? 'it is not HTTP')
  }
}

function rawAnswer (error: Error): string {
  const refusal = refusalOf(error)
  const body = JSON.stringify(refusal)
  return `HTTP/1.1 ${refusal.statusCode} ${refusal.error}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

function answer (response: ServerResponse, error: Error): void {
  const refusal = refusalOf(error)
  if (response.req.httpVersionMajor === 1) response.setHeader('connection', 'close')
  response.writeHead(refusal.statusCode, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff'
  })
  response.end(JSON.stringify(refusal))
}

/**
 * Where a URL that cannot be decoded is sent, so that it is refused as any other request is: with every hook and
 * header.
 */
const UNREADABLE = '/.unreadable'

/**
 * Where a method is sent that the router does not know (over HTTP/2 it may be any text), for Fastify would log its
 * routes.
 */
const UNKNOWN_METHOD = '/.unknown-method/'
const KNOWN_METHODS: ReadonlySet<string | undefined> = new Set(METHODS)
const ALLOWED = 'GET, HEAD, POST, DELETE, OPTIONS'

/** For Fastify's option `rewriteUrl`: Fastify answers such requests itself, before any hook and in another shape. */
export function routableUrl (request: { method?: string | undefined, url?: string | undefined }): string {
  const { method, url = '/' } = request
  if (KNOWN_METHODS.has(method)) return readableUrl(url)
  request.method = 'GET'
  return `${UNKNOWN_METHOD}${encodeURIComponent(String(method))}`
}

function readableUrl (url: string): string {
  try {
    decodeURIComponent(pathOf(url))
    return url
  } catch {
    return UNREADABLE
  }
}

/**
 * Throws 404; 400 when the path could not be read. Without the query, which may hold what no message and no log should.
 */
export function refusePath ({ method, url, originalUrl }: FastifyRequest, reply: FastifyReply): FastifyReply {
  // RFC 9110, 9.3.7: about the server as a whole.
  if (method === 'OPTIONS' && originalUrl === '*') return reply.header('allow', ALLOWED).code(204).send()
  // Somebody may ask for these very paths.
  if (url === originalUrl) throw new errors.SERVICE_NO_SUCH_PATH(pathOf(url))
  if (url.startsWith(UNKNOWN_METHOD)) {
    reply.header('allow', ALLOWED)
    throw new errors.SERVICE_METHOD_NOT_ALLOWED(
      pathOf(originalUrl),
      ALLOWED,
      show(decodeURIComponent(url.slice(UNKNOWN_METHOD.length)))
    )
  }
  throw new errors.SERVICE_BAD_REQUEST(`its path ${show(pathOf(originalUrl))} is not encoded as it should be`)
}

/** HTTP/1.1 demands a Host; Node's own refusal of a request without one has no body. */
async function refuseWithoutHost ({ raw }: FastifyRequest): Promise<void> {
  if (raw.httpVersion === '1.1' && raw.headers.host === undefined) {
    throw new errors.SERVICE_BAD_REQUEST('the header Host is missing')
  }
  // RFC 9112, 3.2. Node keeps the first one, and what stands in front of the service may have looked at another.
  const hosts = raw.rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host')
  if (hosts.length > 1) throw new errors.SERVICE_BAD_REQUEST('the header Host is given more than once')
}
