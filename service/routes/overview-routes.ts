import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { SeenTopics } from '../metrics/seen-topics.ts'
import type { OpenStream, OpenStreams } from '../streams/open-streams.ts'
import { errorResponses } from '../http/error-schemas.ts'
import { overviewQuery } from '../http/request-schemas.ts'

export interface OverviewInit { seen: SeenTopics, streams: OpenStreams }

interface OverviewRoute { Querystring: { limit?: number } }
type Asker = Pick<FastifyRequest, 'grant'>

const DEFAULT_LIMIT = 100
/** Streams looked at for those that the asker may see, so that a request on a process of many streams stays cheap. */
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

/** `GET /topics` and `GET /streams`: what this process is busy with, as far as the asker may see it. */
export function overviewRoutes (app: FastifyInstance, { seen, streams }: OverviewInit): void {
  app.get<OverviewRoute>('/topics', { schema: topicsSchema, preValidation: readQuery }, async request => {
    const visible = seen.newest().filter(({ topic }) => mayLookAt(request, topic))
    const topics = visible.slice(0, limitOf(request)).map(({ topic, last }) => (
      { topic, last: last.n > 0 ? `${last.ms}-${last.n}` : null, subscribers: app.topics.subscribers(topic) }
    ))
    return { topics, total: visible.length }
  })
  app.get<OverviewRoute>('/streams', { schema: streamsSchema, preValidation: readQuery }, async request => {
    const listed = choose(streams.all(), limitOf(request), open => mayLookAtStream(request, open))
    const { lagging } = app.topics.counts
    return { open: streams.size, lagging, streams: listed.map(open => describe(app, request, open)) }
  })
}

function describe (app: FastifyInstance, { grant }: Asker, { stream, subject, since }: OpenStream) {
  const isTold = subject !== undefined && (grant?.subject === subject || grant?.revoke === true)
  const { events, bytes } = stream.written
  const ageMs = Math.round(performance.now() - since)
  const lag = { behind: app.topics.behind(stream) ?? 0, waitingBytes: stream.bufferedBytes }
  return { topics: stream.topics, ...(isTold ? { subject } : {}), ageMs, events, bytes, ...lag }
}

/** The first that may be seen. */
function choose (streams: Iterable<OpenStream>, limit: number, maySee: (open: OpenStream) => boolean): OpenStream[] {
  const chosen: OpenStream[] = []
  let lookedAt = 0
  for (const open of streams) {
    if (chosen.length === limit || ++lookedAt > MAX_LOOKED_AT) break
    if (maySee(open)) chosen.push(open)
  }
  return chosen
}

/** There is no grant where nobody is asked for one. */
function mayLookAt ({ grant }: Asker, topic: string): boolean {
  return !grant || grant.maySubscribe(topic) || grant.mayPublish(topic)
}

function mayLookAtStream ({ grant }: Asker, { stream }: OpenStream): boolean {
  return !grant || stream.topics.every(topic => grant.maySubscribe(topic))
}

function limitOf ({ query }: FastifyRequest<OverviewRoute>): number {
  return query.limit ?? DEFAULT_LIMIT
}

/** Digits are a number; the schema judges the rest. */
async function readQuery (request: FastifyRequest<OverviewRoute>): Promise<void> {
  const { limit, ...rest } = request.query as { limit?: unknown }
  const read = typeof limit === 'string' && /^\d{1,9}$/.test(limit) ? Number(limit) : limit
  request.query = { ...rest, ...(limit === undefined ? {} : { limit: read }) } as OverviewRoute['Querystring']
}
