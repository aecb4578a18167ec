import type { FastifyReply } from 'fastify'
import { acceptsGzip } from '../gzip/accept-encoding.ts'
import { addVary, removeVary } from './vary.ts'

/** `incremental` asks proxies to forward each byte immediately (draft-ietf-httpbis-incremental). */
const STREAM_DEFAULTS = [
  ['cache-control', 'no-cache, no-transform'],
  ['x-accel-buffering', 'no'],
  ['incremental', '?1'],
  ['x-content-type-options', 'nosniff']
] as const

/** They describe the body, whoever set them, and would be wrong for another one. */
const BODY_HEADERS = ['content-type', 'content-encoding']

/** The headers of a stream, set by the constructor. Headers set by the application are kept. */
export class StreamHeaders {
  /** The minimum size from which frames are compressed; undefined for no compression. */
  readonly gzipMinBytes: number | undefined
  readonly #reply: FastifyReply
  readonly #added: ReadonlyArray<typeof STREAM_DEFAULTS[number]>
  #variesByEncoding = false

  /** Never `Connection`, which HTTP/2 forbids. */
  constructor (reply: FastifyReply, gzipMinBytes: number | false) {
    this.#reply = reply
    this.gzipMinBytes = this.#negotiateGzip(gzipMinBytes)
    reply.header('content-type', 'text/event-stream')
    reply.removeHeader('content-length')
    reply.removeHeader('etag')
    this.#added = STREAM_DEFAULTS.filter(([name]) => !reply.hasHeader(name))
    for (const [name, value] of this.#added) reply.header(name, value)
  }

  /** For another response, such as that of an error handler: what the application has set is still there. */
  remove (): void {
    for (const name of BODY_HEADERS) this.#reply.removeHeader(name)
    for (const [name, value] of this.#added) {
      if (this.#reply.getHeader(name) === value) this.#reply.removeHeader(name)
    }
    if (this.#variesByEncoding) removeVary(this.#reply, 'accept-encoding')
  }

  #negotiateGzip (minBytes: number | false): number | undefined {
    const reply = this.#reply
    if (minBytes === false || reply.hasHeader('content-encoding')) return undefined
    this.#variesByEncoding = addVary(reply, 'accept-encoding')
    if (!acceptsGzip(reply.request.headers['accept-encoding'])) return undefined
    reply.header('content-encoding', 'gzip')
    return minBytes
  }
}
