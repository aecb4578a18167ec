import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { show } from 'fastify-resumable-sse'
import { Turns } from 'fastify-resumable-sse/topics'
import { errors } from '../../errors.ts'
import { readLines } from './ndjson.ts'
import { keepRawData } from './raw-data.ts'

/** Media types that a publish accepts. */
const BODY_TYPES = ['application/json', 'application/x-ndjson', 'text/plain'] as const

const FORM_HINT =
  "curl sends data as a form by default: add -H 'content-type: text/plain', or application/json for events"
const LINES_HINT = 'events, one per line, are sent as application/x-ndjson'

/** Advice for media types that are often sent by mistake. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ['application/x-www-form-urlencoded', FORM_HINT],
  ['multipart/form-data', FORM_HINT],
  ...[
    'application/ndjson',
    'application/jsonl',
    'application/x-jsonl',
    'application/x-jsonlines',
    'application/json-lines',
    'application/jsonlines'
  ].map(type => [type, LINES_HINT] as const)
])

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Media types that the route accepts, for its error; default those of a publish. */
    bodyTypes?: readonly string[]
  }
}

/** The error for a body whose media type is not supported. */
export function badMediaType (
  { headers, mediaType = '', routeOptions }: Pick<FastifyRequest, 'headers' | 'mediaType' | 'routeOptions'>
): Error {
  const hint = HINTS.get(mediaType)
  return new errors.SERVICE_BAD_MEDIA_TYPE(
    (routeOptions.config.bodyTypes ?? BODY_TYPES).join(', '),
    show(headers['content-type'] ?? 'none'),
    hint === undefined ? '' : `: ${hint}`
  )
}

/** Limits of bodies and of the events in them. */
export interface BodyLimits {
  maxBodyBytes: number
  maxBatchBytes: number
  maxEventBytes: number
  maxBatchEvents: number
}

/**
 * Parses bodies: JSON to its value, text to a string, NDJSON to the list of its checked events. An empty JSON body
 * counts as no body, because some clients send the content type with every request. Text that is not UTF-8 is an error,
 * because subscribers would receive different text.
 */
async function readBodies (app: FastifyInstance, limits: BodyLimits): Promise<void> {
  const turns = new Turns()
  app.removeAllContentTypeParsers()
  readJson(app, limits, value => value)
  app.addContentTypeParser('text/plain', whole(limits), async (request: FastifyRequest, body: Buffer) => decode(body))
  app.addContentTypeParser('application/x-ndjson', (request: FastifyRequest, payload: Readable) =>
    readLines(payload, limits, turns)
  )
}

export const bodies = fp(readBodies, { name: 'service-bodies', dependencies: ['service-body-gate'] })

/**
 * For routes that publish: keeps `data` of a JSON event as its original text unless it is a string, see `keepRawData`.
 */
export function readEvents (app: FastifyInstance, limits: BodyLimits): void {
  app.removeContentTypeParser('application/json')
  readJson(app, limits, keepRawData)
}

function readJson (app: FastifyInstance, limits: BodyLimits, finish: (value: unknown, text: string) => unknown): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', whole(limits), (request: FastifyRequest, body: Buffer, done) => {
    if (body.length === 0) return done(null)
    const text = decode(body)
    // It calls back at once, and takes what is thrown then for an error in the JSON.
    const read: { error?: Error | null, value?: unknown } = {}
    void parse(request, text, (error, value) => { Object.assign(read, { error, value }) })
    if (read.error) return done(read.error)
    done(null, finish(read.value, text))
  })
}

function whole ({ maxBodyBytes }: BodyLimits) {
  return { parseAs: 'buffer', bodyLimit: maxBodyBytes } as const
}

/** For routes without a body: one that is sent anyway is read and ignored, whatever its type. */
export function ignoreBodies (app: FastifyInstance, { maxBodyBytes }: BodyLimits): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxBodyBytes }, (request, body, done) => { done(null) })
}

function decode (body: Buffer): string {
  if (!isUtf8(body)) throw new errors.SERVICE_BAD_BODY('must be UTF-8')
  return body.toString()
}
