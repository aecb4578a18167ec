import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { errors } from '../errors.ts'
import { readLines } from './ndjson.ts'

/** Media types of a publish. */
export const BODY_TYPES = ['application/json', 'application/x-ndjson', 'text/plain'] as const

/** Bounds of bodies, and of what is in them. */
export interface BodyLimits { maxBodyBytes: number, maxBatchBytes: number, maxEventBytes: number, maxBatchEvents: number }

type Parsed = (error: Error | null, body?: unknown) => void

/**
 * Reads bodies: JSON as its value, text as a string, NDJSON as the list of its events, checked. An empty body of JSON is
 * none, as clients send it that name a type with every request. Text that is not UTF-8 is refused: it would arrive as other text.
 */
export function readBodies (app: FastifyInstance, limits: BodyLimits): void {
  const parseJson = app.getDefaultJsonParser('error', 'error')
  const whole = { parseAs: 'buffer', bodyLimit: limits.maxBodyBytes } as const
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', whole, (request, body: Buffer, done) => {
    if (body.length === 0) done(null)
    else decode(body, done, text => { void parseJson(request, text, done) })
  })
  app.addContentTypeParser('text/plain', whole, (request, body: Buffer, done) => { decode(body, done, text => { done(null, text) }) })
  app.addContentTypeParser('application/x-ndjson', (request: FastifyRequest, payload: Readable) => readLines(payload, limits))
}

/** For calls that take no body: what clients send all the same is read and forgotten, whatever its type. */
export function ignoreBodies (app: FastifyInstance, { maxBodyBytes }: BodyLimits): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxBodyBytes }, (request, body, done) => { done(null) })
}

function decode (body: Buffer, done: Parsed, use: (text: string) => void): void {
  if (isUtf8(body)) use(body.toString())
  else done(new errors.SERVICE_BAD_BODY('must be UTF-8'))
}
