import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { SseStream } from 'fastify-resumable-sse'
import type { SeenTopics } from '../metrics/seen-topics.ts'
import { errorResponses } from '../http/schemas/error-schemas.ts'
import { convertQuery } from '../http/convert-query.ts'
import { toInteger } from '../http/to-integer.ts'
import { overviewQuery } from '../http/schemas/request-schemas.ts'

interface OverviewRoute { Querystring: { limit?: number } }
type Asker = Pick<FastifyRequest, 'grant'>

const DEFAULT_LIMIT = 100
/**
 * Maximum number of streams examined to find those that the client may see, so that a request stays cheap on a process
 * with many streams.
 */
const MAX_LOOKED_AT = 5_000

const topicsSchema = {
  tags: ['Topics'],
  operationId: 'listTopics',
  summary: 'List topics',
  description: 'The topics that the answering process has published to or followed since its start, at most 1000, ' +
    'the most recently active first; with credentials, those that they may subscribe or publish to.',
  querystring: overviewQuery,
  response: { 200: { $ref: 'TopicList#', description: 'The topics' }, ...errorResponses(400, 401, 421, 503) }
}

const streamsSchema = {
  tags: ['Stream'],
  operationId: 'listStreams',
  summary: 'List open streams',
  description: 'The open streams of the answering process, and how far each is behind; with credentials, those whose ' +
    'topics they may all subscribe to.',
  querystring: overviewQuery,
  response: {
    200: { $ref: 'StreamList#', description: 'The streams, oldest first' },
    ...errorResponses(400, 401, 421, 503)
  }
}

/** `GET /topics` and `GET /streams`: the current activity of this process, as far as the client may see it. */
export function overviewRoutes (app: FastifyInstance, seen: SeenTopics): void {
  app.get<OverviewRoute>('/topics', { schema: topicsSchema, preValidation: readQuery }, async request => {
    const visible = seen.newest().filter(({ topic }) => mayLookAt(request, topic))
    const topics = visible.slice(0, limitOf(request)).map(({ topic, last }) => (
      { topic, last: last.n > 0 ? `${last.ms}-${last.n}` : null, subscribers: app.topics.subscribers(topic) }
    ))
    return { topics, total: visible.length }
  })
  app.get<OverviewRoute>('/streams', { schema: streamsSchema, preValidation: readQuery }, async request => {
    const { streams } = app.sse
    const listed = choose(streams, limitOf(request), stream => mayLookAtStream(request, stream))
    const { lagging } = app.topics.counts
    return { open: streams.size, lagging, streams: listed.map(stream => describe(app, request, stream)) }
  })
}

function describe (app: FastifyInstance, { grant }: Asker, stream: SseStream) {
  const subject = stream.owner?.subject
  const isTold = subject !== undefined && (grant?.subject === subject || grant?.revoke === true)
  const { events, bytes } = stream.written
  const ageMs = Math.round(stream.ageMs)
  const lag = { behind: app.topics.behind(stream) ?? 0, waitingBytes: stream.bufferedBytes }
  return { topics: stream.topics, ...(isTold ? { subject } : {}), ageMs, events, bytes, ...lag }
}

/** The first streams that the client may see. */
function choose (streams: Iterable<SseStream>, limit: number, maySee: (stream: SseStream) => boolean): SseStream[] {
  const chosen: SseStream[] = []
  let lookedAt = 0
  for (const stream of streams) {
    if (chosen.length === limit || ++lookedAt > MAX_LOOKED_AT) break
    if (maySee(stream)) chosen.push(stream)
  }
  return chosen
}

/** Without authentication there is no grant. */
function mayLookAt ({ grant }: Asker, topic: string): boolean {
  return !grant || grant.maySubscribe(topic) || grant.mayPublish(topic)
}

function mayLookAtStream ({ grant }: Asker, { topics }: SseStream): boolean {
  return !grant || topics.every(topic => grant.maySubscribe(topic))
}

function limitOf ({ query }: FastifyRequest<OverviewRoute>): number {
  return query.limit ?? DEFAULT_LIMIT
}

const CONVERSIONS = new Map<string, (value: unknown) => unknown>([['limit', toInteger]])

async function readQuery (request: FastifyRequest<OverviewRoute>): Promise<void> {
  request.query = convertQuery(request.query, CONVERSIONS)
}
