import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import type { Transform } from 'node:stream'
import type { FastifyInstance, RequestPayload } from 'fastify'
import fp from 'fastify-plugin'
import { show } from 'fastify-resumable-sse'
import { errors } from '../../errors.ts'
import { whenOver } from '../connections/when-over.ts'

const INFLATERS: ReadonlyMap<string, () => Transform> = new Map([
  ['gzip', createGunzip], ['x-gzip', createGunzip], ['deflate', createInflate], ['br', createBrotliDecompress]
])

/** Content encodings that a body may have. */
export const ENCODINGS = ['gzip', 'deflate', 'br', 'identity'] as const

/** Methods whose request body is never read. */
export const BODYLESS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/**
 * Decompresses bodies as they arrive. Their reader counts decompressed bytes, so that a decompression bomb is rejected
 * at its limit.
 *
 * Not `@fastify/compress`: it closes the connection instead of responding when a body cannot be decompressed, and
 * continues to decompress a bomb after it was rejected.
 */
async function inflateBodies (app: FastifyInstance): Promise<void> {
  app.addHook('preParsing', (request, reply, payload, done) => {
    const encoding = request.headers['content-encoding']?.trim().toLowerCase() || 'identity'
    if (encoding === 'identity' || BODYLESS.has(request.method)) return done()
    const create = INFLATERS.get(encoding)
    if (create === undefined) {
      // RFC 9110, 12.5.3: the codings that would have been accepted.
      reply.header('accept-encoding', ENCODINGS.join(', '))
      return done(new errors.SERVICE_BAD_ENCODING(ENCODINGS.join(', '), show(encoding)))
    }
    const inflated = inflate(payload, create(), encoding)
    // Nothing is read after the response.
    whenOver(reply, () => inflated.destroy())
    done(null, inflated)
  })
}

export const inflation = fp(inflateBodies, { name: 'service-inflate' })

function inflate (payload: RequestPayload, inflater: Transform, encoding: string): RequestPayload & Transform {
  // Fastify compares it with Content-Length.
  const inflated = Object.assign(inflater, { receivedEncodedLength: 0 })
  payload.on('data', (chunk: Buffer) => { inflated.receivedEncodedLength += chunk.length })
  payload.on('error', error => { inflated.destroy(error) })
  // Registered before Fastify's own listener, which passes the error on unchanged.
  const problem = `is not valid ${encoding}, although Content-Encoding is ${encoding}`
  inflated.on('error', error => Object.assign(error, new errors.SERVICE_BAD_BODY(problem)))
  payload.pipe(inflated)
  return inflated
}
