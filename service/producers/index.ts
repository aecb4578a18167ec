import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchemaCompiler } from 'fastify'
import type { ProduceOptions, Producer, ProductionEnd } from 'fastify-resumable-sse/topics'
import { checkTopic, topicsErrors } from 'fastify-resumable-sse/topics'
import { badMediaType } from '../http/bodies/bodies.ts'
import type { BodyLimits } from '../http/bodies/bodies.ts'
import { errors } from '../errors.ts'
import { FORMATS } from './formats.ts'
import { LineSplitter } from './lines.ts'
import { LiveLimits } from './live-limits.ts'
import type { LiveLimitsInit } from './live-limits.ts'
import type { LiveBody } from './live-body.ts'
import { openLiveBody } from './live-request.ts'
import type { LiveInit, LiveRoutesInit } from './live-request.ts'
import { liveSchema, lookSchema, stopSchema } from './schemas.ts'

interface TopicRoute { Params: { topic: string } }
interface LiveRoute extends TopicRoute {
  Querystring: { takeOver?: boolean, leaseMs?: number, ttlMs?: number }
  Headers: { 'producer-id'?: string, 'producer-after'?: string }
  Body: LiveBody | undefined
}

const URL = '/topics/:topic/producer'
const DEFAULT_LEASE_MS = 30_000

/** Live publish: a body is published while it arrives, by one producer per topic. */
export async function producerRoutes (
  app: FastifyInstance,
  limits: BodyLimits & LiveLimitsInit,
  init: LiveRoutesInit
): Promise<void> {
  const bodies: LiveInit['bodies'] = new Set()
  app.addHook('preClose', async () => { for (const body of bodies) body.interrupt(new errors.SERVICE_DRAINING()) })
  await app.register(async app => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser([...FORMATS.keys()], async (request: FastifyRequest, payload: unknown) => payload)
    liveRoutes(app, limits, { ...init, bodies, limits: new LiveLimits(limits) })
  })
  const shared = { config: { explain }, onRequest: checkPublish }
  app.get<TopicRoute>(URL, { schema: lookSchema, ...shared }, request => app.topics.producer(request.params.topic))
  app.post<TopicRoute & { Body: { lease?: number } | undefined }>(
    '/topics/:topic/stop',
    { schema: stopSchema, onRequest: checkPublish, config: { explain, rateLimit: {} }, preValidation: readStop },
    async ({ params, body }) => ({ stopped: await app.topics.stop(params.topic, { lease: body?.lease }) })
  )
}

/** POST, and PUT for `curl -T`. */
function liveRoutes (
  app: FastifyInstance,
  limits: BodyLimits,
  init: LiveInit
): void {
  for (const method of ['POST', 'PUT'] as const) {
    app.route<LiveRoute>({
      method,
      url: URL,
      schema: { ...liveSchema, operationId: method === 'POST' ? 'publishLive' : 'publishLiveByPut' },
      config: { explain, rateLimit: {}, isLive: true, bodyTypes: [...FORMATS.keys()] },
      onRequest: checkPublish,
      preParsing: async (request, reply, payload) => openLiveBody(request, reply, payload, init),
      preValidation: readQuery,
      validatorCompiler: withoutBody(app),
      handler: (request, reply) => publishLive(app, request, reply, limits)
    })
  }
}

async function publishLive (
  app: FastifyInstance,
  request: FastifyRequest<LiveRoute>,
  reply: FastifyReply,
  limits: BodyLimits
): Promise<object> {
  const { body, params: { topic } } = request
  if (body === undefined) throw badMediaType(request)
  const options = optionsOf(request)
  const onAppend = (accepted: number): void => { body.settle(accepted - options.after) }
  const producer = await app.topics.produce(topic, readBody(request, body, limits), { ...options, onAppend })
  const end = await producer.done
  reply.header('producer-accepted', producer.accepted)
  if (end.reason !== 'done') throw errorOf(end, producer)
  return { topic, reason: end.reason, accepted: producer.accepted }
}

function optionsOf ({ query, headers }: FastifyRequest<LiveRoute>): ProduceOptions & { after: number } {
  return { ...query, producerId: headers['producer-id'], after: Number(headers['producer-after'] ?? 0) }
}

/**
 * The events of the body. With a Producer-Id, an error only interrupts the producer: the client can fix it and
 * continue.
 */
async function * readBody ({ mediaType, headers }: FastifyRequest<LiveRoute>, body: LiveBody, limits: BodyLimits) {
  const { create, maxLineBytes, limitName, breaksAtCr } = FORMATS.get(mediaType!)!
  try {
    const lines = new LineSplitter({ maxBytes: maxLineBytes(limits), limitName, breaksAtCr })
    yield * body.events(lines, create(limits))
  } catch (error) {
    if (headers['producer-id'] === undefined && !isBroken(error)) throw error
    throw Object.assign(new topicsErrors.TOPICS_INTERRUPTED((error as Error).message), { cause: error })
  }
}

/** The client did not get to the end of its body, through no fault of what is in it. */
function isBroken (error: unknown): boolean {
  const { code, statusCode = 500 } = error as { code?: string, statusCode?: number }
  return code === 'SERVICE_ABORTED' || statusCode >= 500 || statusCode === 408 || statusCode === 401
}

/** The error for the client: what went wrong, and where to continue. */
function errorOf ({ reason, error }: ProductionEnd, { topic, accepted }: Producer): Error {
  const cause = error instanceof topicsErrors.TOPICS_INTERRUPTED ? error.cause : error
  const known = cause instanceof Error ? cause : otherEnd(reason, topic)
  known.message += `; the log has ${accepted} ${accepted === 1 ? 'event' : 'events'} of this producer`
  return known
}

function otherEnd (reason: ProductionEnd['reason'], topic: string): Error {
  if (reason === 'interrupted') return new errors.SERVICE_DRAINING()
  if (reason === 'superseded') return new errors.SERVICE_PRODUCER_ENDED(topic, 'another producer has it')
  return new errors.SERVICE_PRODUCER_ENDED(topic, `it was closed as "${reason}"`)
}

async function checkPublish ({ grant, params }: FastifyRequest): Promise<void> {
  grant?.checkPublish((params as TopicRoute['Params']).topic)
}

function explain ({ params }: FastifyRequest): void {
  checkTopic((params as TopicRoute['Params']).topic)
}

/** Without a body as with an empty object. */
async function readStop (request: FastifyRequest): Promise<void> {
  request.body ??= {}
}

/** Turns the texts of the query into what they mean. */
async function readQuery (request: FastifyRequest<LiveRoute>): Promise<void> {
  const { 'producer-id': id, 'producer-after': after } = request.headers
  if (id === undefined && after !== undefined) {
    throw new errors.SERVICE_BAD_VALUE('header "producer-after"', 'sent with Producer-Id', after)
  }
  const query = Object.entries(request.query).map(([name, value]) => [name, parse(value)])
  request.query = Object.fromEntries(query) as LiveRoute['Querystring']
  const { leaseMs = DEFAULT_LEASE_MS, ttlMs } = request.query
  if (typeof ttlMs === 'number' && typeof leaseMs === 'number' && ttlMs < leaseMs) {
    throw new errors.SERVICE_BAD_QUERY('ttlMs', `at least leaseMs (${leaseMs})`, ttlMs)
  }
}

function parse (value: unknown): unknown {
  if (value === 'true' || value === 'false') return value === 'true'
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
}

function withoutBody (app: FastifyInstance): FastifySchemaCompiler<object> {
  return part => part.httpPart === 'body' ? () => true : app.validatorCompiler!(part)
}
