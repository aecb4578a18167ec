import Negotiator from 'negotiator'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TopicPage } from 'fastify-resumable-sse/topics'
import { checkTopic, DEFAULT_READ_BYTES, Turns } from 'fastify-resumable-sse/topics'
import { errors } from '../errors.ts'
import type { Grow, ResponseGate } from '../http/response-gate.ts'
import { errorResponses } from '../http/schemas/error-schemas.ts'
import { convertQuery } from '../http/convert-query.ts'
import { toInteger } from '../http/to-integer.ts'
import { historyQuery, topicParams } from '../http/schemas/request-schemas.ts'

interface HistoryRoute {
  Params: { topic: string }
  Querystring: { after?: string, limit?: number, maxBytes?: number }
}

export interface HistoryInit { gate: ResponseGate, maxEventBytes: number }

const JSON_TYPE = 'application/json'
const NDJSON_TYPE = 'application/x-ndjson'
const JSON_START = '{"events":['
const TYPES = [JSON_TYPE, NDJSON_TYPE]

const schema = {
  tags: ['Topics'],
  operationId: 'readTopic',
  summary: 'Read events',
  description:
    'One page of the events of a topic, oldest first. ' +
      'To read the next page, or to subscribe from there on, pass its cursor as after or lastEventId.',
  params: topicParams,
  querystring: historyQuery,
  response: {
    200: {
      description:
        'The page. As NDJSON: a line for the gap if there is one, a line for each event, ' +
          'and a line with cursor and isClosed',
      content: { [JSON_TYPE]: { schema: { $ref: 'TopicPage#' } }, [NDJSON_TYPE]: { schema: { type: 'string' } } }
    },
    ...errorResponses(400, 401, 403, 406, 421, 503)
  }
}

/**
 * `GET /topics/:topic/events[?after=][&limit=][&maxBytes=]`: one page of a topic's history, for clients that may
 * subscribe to it.
 */
export function historyRoute (app: FastifyInstance, { gate, maxEventBytes }: HistoryInit): void {
  const turns = new Turns()
  const options = { schema, config: { explain }, onRequest: checkSubscribe, preValidation: readQuery }
  app.get<HistoryRoute>('/topics/:topic/events', options, async (request, reply) => {
    const type = mediaTypeOf(request)
    // Names and data of the page; a first event that exceeds the requested size is returned alone.
    const bytes = Math.max(request.query.maxBytes ?? DEFAULT_READ_BYTES, maxEventBytes)
    const body = await gate.prepare(reply, bytes, async grow => {
      const page = await app.topics.read(request.params.topic, request.query)
      return encode(type === JSON_TYPE ? asJson(page) : asLines(page), turns, grow)
    })
    return reply.type(type === JSON_TYPE ? 'application/json; charset=utf-8' : type).send(body)
  })
}

/** The media type that the client prefers; JSON if it has no preference. Throws for a client that accepts neither. */
function mediaTypeOf ({ headers: { accept } }: FastifyRequest): string {
  const type = new Negotiator({ headers: { accept } }).mediaType(TYPES)
  if (type === undefined) throw new errors.SERVICE_NOT_ACCEPTABLE(TYPES.join(' or '), JSON.stringify(accept))
  return type
}

/**
 * Joins the parts of a page. Each is made when it is its turn: as JSON a page of 16 MiB can have 96 MiB, for control
 * characters take six, which kept the process from other work for a second.
 */
async function encode (parts: Iterable<string>, turns: Turns, grow: Grow): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for (const part of parts) {
    const chunk = Buffer.from(part)
    grow(bytes += chunk.length)
    chunks.push(chunk)
    if (turns.mustPause()) await turns.next()
  }
  return Buffer.concat(chunks, bytes)
}

function * asJson (page: TopicPage): Generator<string, void> {
  yield JSON_START
  for (const [at, event] of page.events.entries()) yield (at === 0 ? '' : ',') + JSON.stringify(event)
  yield JSON.stringify({ ...page, events: [] }).slice(JSON_START.length)
}

function * asLines ({ events, gap, cursor, isClosed }: TopicPage): Generator<string, void> {
  for (const line of [...(gap ? [{ gap }] : []), ...events, { cursor, isClosed }]) yield `${JSON.stringify(line)}\n`
}

const CONVERSIONS = new Map<string, (value: unknown) => unknown>([
  // As with `lastEventId` of the stream, the cursor may be repeated, and the newest one counts.
  ['after', cursors => [cursors].flat().join(', ')],
  ['limit', toInteger],
  ['maxBytes', toInteger]
])

async function readQuery (request: FastifyRequest<HistoryRoute>): Promise<void> {
  request.query = convertQuery(request.query, CONVERSIONS)
}

async function checkSubscribe ({ grant, params }: FastifyRequest): Promise<void> {
  grant?.checkSubscribe((params as HistoryRoute['Params']).topic)
}

function explain ({ params }: FastifyRequest): void {
  checkTopic((params as HistoryRoute['Params']).topic)
}
