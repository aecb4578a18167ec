import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchemaCompiler } from 'fastify'
import type { PublishEvent, Published } from 'fastify-resumable-sse/topics'
import { checkEvents, checkIdempotencyKey, checkTopic } from 'fastify-resumable-sse/topics'
import { ignoreBodies, readEvents } from '../http/bodies/bodies.ts'
import type { BodyLimits } from '../http/bodies/bodies.ts'
import { checkHook } from '../http/check-hook.ts'
import type { ResponseGate } from '../http/response-gate.ts'
import { historyRoute } from './history-route.ts'
import { errorResponses } from '../http/schemas/error-schemas.ts'
import { publishBody, publishHeaders, topicParams } from '../http/schemas/request-schemas.ts'

interface TopicRoute { Params: { topic: string } }
interface PublishRoute extends TopicRoute {
  /** Text is the data of one event. */
  Body: PublishEvent | PublishEvent[] | string
  Headers: { 'idempotency-key'?: string }
}

/** Maximum number of events of a JSON array, which is parsed at once. */
const MAX_ARRAY_EVENTS = 1_000

/** Publishing to topics, and their state. */
export async function topicsRoutes (app: FastifyInstance, limits: BodyLimits, gate: ResponseGate): Promise<void> {
  historyRoute(app, { gate, maxEventBytes: limits.maxEventBytes })
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

/** The calls that close or delete a topic. They have no body. */
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

/** Before the body is read. Without authentication there is no grant. */
const checkPublish = checkHook(({ grant, params }) => grant?.checkPublish((params as TopicRoute['Params']).topic))

/** A client that may publish or subscribe may also see the state. */
async function checkLook ({ grant, params }: FastifyRequest): Promise<void> {
  const { topic } = params as TopicRoute['Params']
  if (!grant?.mayPublish(topic)) grant?.checkSubscribe(topic)
}

/**
 * The schema of the body is for the OpenAPI document only: events are checked once, by the module that publishes them.
 */
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

/** Returns the body: Fastify would wait for the end of the response if an async handler returned the reply. */
function answer (reply: FastifyReply, { ids, isRepeat }: Published, isBatch: boolean): object {
  if (isRepeat) reply.header('idempotency-replayed', 'true')
  reply.code(201)
  return isBatch ? { ids } : { id: ids[0] }
}

const tags = ['Topics']

const publishSchema = {
  tags,
  operationId: 'publish',
  summary: 'Publish',
  description:
    'Publishes one event or a batch atomically and in order. The response is sent when the log has stored them. ' +
      'The body may be compressed: content-encoding gzip, deflate or br.',
  params: topicParams,
  headers: publishHeaders,
  response: {
    201: {
      $ref: 'Published#',
      description: 'The log has stored the events',
      headers: {
        'idempotency-replayed': {
          type: 'string',
          enum: ['true'],
          description: 'Present if the key was used before: nothing was added'
        }
      }
    },
    ...errorResponses(400, 401, 403, 408, 409, 413, 415, 421, 422, 429, 503)
  }
}

const infoSchema = {
  tags,
  operationId: 'getTopic',
  summary: 'Get the state of a topic',
  description: 'A topic without events is empty, not an error.',
  params: topicParams,
  response: { 200: { $ref: 'TopicInfo#', description: 'Its state' }, ...errorResponses(400, 401, 403, 421, 503) }
}

const closeSchema = {
  tags,
  operationId: 'closeTopic',
  summary: 'Close a topic',
  description:
    'The topic accepts no more events; readers are notified when they have read all of them. ' +
      'Closing it again has no effect. A body is ignored.',
  params: topicParams,
  response: {
    204: { type: 'null', description: 'The topic is closed' },
    ...errorResponses(400, 401, 403, 413, 421, 503)
  }
}

const deleteSchema = {
  tags,
  operationId: 'deleteTopic',
  summary: 'Delete the events of a topic',
  description: 'Deletes the events and reopens the topic; event numbers continue. A body is ignored.',
  params: topicParams,
  response: {
    204: { type: 'null', description: 'The topic is empty' },
    ...errorResponses(400, 401, 403, 413, 421, 503)
  }
}
