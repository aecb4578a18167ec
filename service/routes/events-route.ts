import type { FastifyInstance, FastifyRequest } from 'fastify'
import { checkSubscribeOptions, checkTopics } from 'fastify-resumable-sse/topics'
import type { SubscribeOptions } from 'fastify-resumable-sse/topics'
import { PROXY_LIFETIME_MS } from 'fastify-resumable-sse/auth'
import { parseDuration } from '../config/duration.ts'
import { errorResponses } from '../http/schemas/error-schemas.ts'
import { convertQuery } from '../http/convert-query.ts'
import { toInteger } from '../http/to-integer.ts'
import { streamHeaders, streamQuery } from '../http/schemas/request-schemas.ts'
import type { StreamGate } from '../streams/stream-gate.ts'

/** The query after validation. */
interface Query {
  topic: string[]
  lastEventId?: string
  since?: string
  last?: number
  envelope?: boolean
  starting_after?: number
  control?: 'in-band' | 'none'
  final?: string
  ot?: string
}
interface EventsRoute {
  Querystring: Query
}

const schema = {
  tags: ['Stream'],
  operationId: 'subscribe',
  summary: 'Subscribe to topics',
  description:
    'An event stream that stays open until the client disconnects or all topics are closed. ' +
      'HEAD returns its headers and opens none.',
  querystring: streamQuery,
  headers: streamHeaders,
  response: {
    200: {
      description:
        'The stream: stream.open first, then the events of the topics, each with the cursor after it as its id',
      content: {
        'text/event-stream': {
          schema: {
            type: 'string',
            example: ':\nretry: 3000\nid: 0-0\nevent: stream.open\ndata: \n\nid: 1795371952569-1\ndata: hello\n\n'
          }
        }
      }
    },
    204: {
      type: 'null',
      description:
        'All topics are closed, and the client has read them to their end. ' +
        'With control=none also for topics without events and without a producer'
    },
    ...errorResponses(400, 401, 403, 406, 410, 421, 429, 503)
  }
}

/**
 * `GET /events?topic=a&topic=b[&lastEventId=][&since=10m][&last=20][&starting_after=7][&envelope=true][&control=none]
 * [&final=[DONE]]`: the stream.
 */
export function eventsRoute (app: FastifyInstance, gate: StreamGate, maxLifetimeMs?: number): void {
  app.get<EventsRoute>(
    '/events',
    { schema, config: { explain }, sse: {}, preValidation: readQuery },
    (request, reply) => {
      // The URL may contain credentials, so no cache may store it with the stream.
      if (request.query.ot !== undefined) reply.header('cache-control', 'private, no-store, no-transform')
      return reply.sse(
        gate.guard(request, app.topics.subscribe(request.query.topic, subscribeOptions(request.query))),
        lifetimeOf(request, maxLifetimeMs)
      )
    }
  )
}

/** Turns one topic into a list, digits into a number, and true and false into booleans. */
const CONVERSIONS = new Map<string, (value: unknown) => unknown>([
  ['topic', topic => [topic].flat()],
  // A client that started from a cursor may append a newer one.
  ['lastEventId', cursors => [cursors].flat().filter(cursor => cursor !== '').join(', ')],
  ['envelope', toBoolean],
  ['last', toInteger],
  ['starting_after', number => toInteger(number, 16)]
])

async function readQuery (request: FastifyRequest<EventsRoute>): Promise<void> {
  request.query = convertQuery(request.query, CONVERSIONS) as unknown as Query
}

function toBoolean (text: unknown): unknown {
  return text === 'true' ? true : text === 'false' ? false : text
}

function explain ({ query }: FastifyRequest): void {
  const { topic, last } = query as Partial<Query>
  if (topic !== undefined) checkTopics(topic)
  if (typeof last === 'number') checkSubscribeOptions({ last })
}

function subscribeOptions (query: Query): SubscribeOptions {
  const { lastEventId, since, last, envelope, starting_after: startingAfter, control, final } = query
  return {
    after: lastEventId || undefined,
    sinceMs: since === undefined ? undefined : parseDuration(since),
    last,
    envelope,
    startingAfter,
    control,
    final: final === undefined ? undefined : { data: final }
  }
}

/**
 * Streams of subjects from a proxy end even without a configured lifetime: nothing else would reveal that somebody has
 * signed out at the proxy.
 */
function lifetimeOf (request: FastifyRequest, configuredMs: number | undefined): { maxLifetimeMs: number } {
  const isOfProxy = (request as { grant?: { source: string } | null }).grant?.source === 'proxy'
  return { maxLifetimeMs: configuredMs ?? (isOfProxy ? PROXY_LIFETIME_MS : 0) }
}
