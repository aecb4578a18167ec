import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchemaCompiler } from 'fastify'
import type { PublishEvent, Published } from 'fastify-resumable-sse/topics'
import { checkEvents, checkIdempotencyKey, checkTopic } from 'fastify-resumable-sse/topics'
import { ignoreBodies, readEvents } from '../http/bodies.ts'
import type { BodyLimits } from '../http/bodies.ts'
import type { PageGate } from '../http/page-gate.ts'
import { historyRoute } from './history-route.ts'
import { publishBody, publishHeaders, refusals, topicParams } from '../http/schemas.ts'

interface TopicRoute { Params: { topic: string } }
interface PublishRoute extends TopicRoute {
  /** Text is the data of one event. */
  Body: PublishEvent | PublishEvent[] | string
  Headers: { 'idempotency-key'?: string }
}

/** Events of a JSON array, which is parsed in one go. */
const MAX_ARRAY_EVENTS = 1_000

/** Publishing to topics, and their state. */
export async function topicsRoutes (app: FastifyInstance, limits: BodyLimits, pages: PageGate): Promise<void> {
  historyRoute(app, pages)
  await app.register(async app => {
    readEvents(app, limits)
    publishRoute(app, limits)
  })
  app.get<TopicRoute>(
    '/topics/:topic',
    { schema: infoSchema, config: { explain: explainTopic }, onRequest: checkLook },
    request => app.topics.info(request.params.topic)
  )
  await app.register(async app => {
    ignoreBodies(app, limits)
    finishingRoutes(app)
  })
}

function publishRoute (app: FastifyInstance, { maxBatchEvents, maxEventBytes }: BodyLimits): void {
  const maxArrayEvents = Math.min(MAX_ARRAY_EVENTS, maxBatchEvents)
  const schema = { ...publishSchema, body: publishBody({ maxArrayEvents, maxBatchEvents }) }
  const options = {
    schema,
    config: { explain: explainPublish, rateLimit: {} },
    onRequest: checkPublish,
    validatorCompiler: withoutBody(app)
  }
  app.post<PublishRoute>('/topics/:topic/events', options, async (request, reply) => {
    const { body, params, headers, grant, mediaType } = request
    const events = checkEvents(mediaType === 'text/plain' ? { data: body } : body, {
      maxEventBytes,
      maxBatchEvents: mediaType === 'application/json' ? maxArrayEvents : maxBatchEvents
    })
    const published = await app.topics.publish(params.topic, events, {
      idempotencyKey: headers['idempotency-key'],
      publisher: grant?.subject
    })
    return answer(reply, published, Array.isArray(body))
  })
}

/** The calls that end a topic, for good or to begin anew. They take no body. */
function finishingRoutes (app: FastifyInstance): void {
  const shared = { config: { explain: explainTopic }, onRequest: checkPublish }
  app.post<TopicRoute>('/topics/:topic/close', { schema: closeSchema, ...shared }, async (request, reply) => {
    await app.topics.close(request.params.topic)
    return reply.code(204).send()
  })
  app.delete<TopicRoute>('/topics/:topic', { schema: deleteSchema, ...shared }, async (request, reply) => {
    await app.topics.delete(request.params.topic)
    return reply.code(204).send()
  })
}

/** Before the body is read. There is no grant where nobody is asked for one. */
async function checkPublish ({ grant, params }: FastifyRequest): Promise<void> {
  grant?.checkPublish((params as TopicRoute['Params']).topic)
}

/** Whoever publishes or listens may look. */
async function checkLook ({ grant, params }: FastifyRequest): Promise<void> {
  const { topic } = params as TopicRoute['Params']
  if (!grant?.mayPublish(topic)) grant?.checkSubscribe(topic)
}

/** The schema of the body is for the document alone: events are checked once, by the room that publishes them. */
function withoutBody (app: FastifyInstance): FastifySchemaCompiler<object> {
  return part => part.httpPart === 'body' ? () => true : app.validatorCompiler!(part)
}

function explainPublish (request: FastifyRequest): void {
  explainTopic(request)
  checkIdempotencyKey((request.headers as PublishRoute['Headers'])['idempotency-key'])
}

function explainTopic ({ params }: FastifyRequest): void {
  checkTopic((params as TopicRoute['Params']).topic)
}

function answer (reply: FastifyReply, { ids, isRepeat }: Published, isBatch: boolean): FastifyReply {
  if (isRepeat) reply.header('idempotency-replayed', 'true')
  return reply.code(201).send(isBatch ? { ids } : { id: ids[0] })
}

const tags = ['Topics']

const publishSchema = {
  tags,
  operationId: 'publish',
  summary: 'Publish',
  description:
    'Publishes one event or a batch, all or none and in order. Answered when the log has them. The body may be compressed: content-encoding gzip, deflate or br.',
  params: topicParams,
  headers: publishHeaders,
  response: {
    201: {
      $ref: 'Published#',
      description: 'The log has the events',
      headers: {
        'idempotency-replayed': {
          type: 'string',
          enum: ['true'],
          description: 'There when the key was used before: nothing was added'
        }
      }
    },
    ...refusals(400, 401, 403, 408, 409, 413, 415, 421, 422, 429, 503)
  }
}

const infoSchema = {
  tags,
  operationId: 'getTopic',
  summary: 'Look at a topic',
  description: 'A topic nobody published to is empty, not an error.',
  params: topicParams,
  response: { 200: { $ref: 'TopicInfo#', description: 'Its state' }, ...refusals(400, 401, 403, 421, 503) }
}

const closeSchema = {
  tags,
  operationId: 'closeTopic',
  summary: 'Close a topic',
  description:
    'It takes no more events; its readers are told when they have read it to its end. Closing twice is the same as once. A body is ignored.',
  params: topicParams,
  response: { 204: { type: 'null', description: 'It is closed' }, ...refusals(400, 401, 403, 413, 421, 503) }
}

const deleteSchema = {
  tags,
  operationId: 'deleteTopic',
  summary: 'Delete the events of a topic',
  description: 'Drops its events and reopens it; its numbers go on. A body is ignored.',
  params: topicParams,
  response: { 204: { type: 'null', description: 'It is empty' }, ...refusals(400, 401, 403, 413, 421, 503) }
}
