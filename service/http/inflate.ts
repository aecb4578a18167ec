import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import type { Transform } from 'node:stream'
import type { FastifyInstance, RequestPayload } from 'fastify'
import { show } from 'fastify-resumable-sse'
import { errors } from '../errors.ts'
import { whenOver } from './when-over.ts'

const INFLATERS: ReadonlyMap<string, () => Transform> = new Map([
  ['gzip', createGunzip], ['x-gzip', createGunzip], ['deflate', createInflate], ['br', createBrotliDecompress]
])

/** Content codings that a body may have. */
export const ENCODINGS = ['gzip', 'deflate', 'br', 'identity'] as const

/** Requests with these methods have no body that anybody reads. */
export const BODYLESS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/**
 * Decompresses bodies as they come. Whoever reads them counts what comes out, so that a bomb is refused at its limit.
 *
 * Not `@fastify/compress`: it ends the connection instead of answering when a body cannot be decompressed, and a bomb
 * goes on to be decompressed after it was refused.
 */
export function inflateBodies (app: FastifyInstance): void {
  app.addHook('preParsing', async (request, reply, payload) => {
    const encoding = request.headers['content-encoding']?.trim().toLowerCase() || 'identity'
    if (encoding === 'identity' || BODYLESS.has(request.method)) return payload
    const create = INFLATERS.get(encoding)
    if (create === undefined) {
      // RFC 9110, 12.5.3: which codings would have been taken.
      reply.header('accept-encoding', ENCODINGS.join(', '))
      throw new errors.SERVICE_BAD_ENCODING(ENCODINGS.join(', '), show(encoding))
    }
    const inflated = inflate(payload, create(), encoding)
    // Nobody reads on after the answer.
    whenOver(reply, () => inflated.destroy())
    return inflated
  })
}

function inflate (payload: RequestPayload, inflater: Transform, encoding: string): RequestPayload & Transform {
  // Fastify compares it with Content-Length.
  const inflated = Object.assign(inflater, { receivedEncodedLength: 0 })
  payload.on('data', (chunk: Buffer) => { inflated.receivedEncodedLength += chunk.length })
  payload.on('error', error => { inflated.destroy(error) })
  // Before Fastify hears of it, which passes it on as it is.
  inflated.on('error', error =>
    Object.assign(error, new errors.SERVICE_BAD_BODY(`is not ${encoding}, as content-encoding says`))
  )
  payload.pipe(inflated)
  return inflated
}
