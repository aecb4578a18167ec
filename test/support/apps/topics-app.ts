import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import type { SsePluginOptions } from '../../../plugin/index.ts'
import topics, { MemoryLog } from '../../../plugin/topics/index.ts'
import type { SubscribeOptions, TopicLog, TopicsOptions } from '../../../plugin/topics/index.ts'
import { buildApp } from './app.ts'

export interface TopicsAppOptions {
  log?: TopicLog
  topics?: Partial<TopicsOptions>
  sse?: SsePluginOptions
  subscribe?: SubscribeOptions
}

interface Query extends Pick<SubscribeOptions, 'last' | 'sinceMs' | 'after' | 'envelope'> { topic: string | string[] }

const QUERY = {
  type: 'object',
  properties: { last: { type: 'integer' }, sinceMs: { type: 'integer' }, envelope: { type: 'boolean' } }
}

/** An app with `GET /events?topic=a&topic=b` over a log; closed after the test. */
export async function buildTopicsApp (
  t: Test,
  { log = new MemoryLog(), topics: options, sse, subscribe }: TopicsAppOptions = {}
): Promise<FastifyInstance> {
  const app = await buildApp(t, sse)
  await app.register(topics, { log, ...options })
  app.get<{ Querystring: Query }>('/events', { schema: { querystring: QUERY } }, (request, reply) => {
    const { topic, ...start } = request.query
    return reply.sse(app.topics.subscribe(topic, { ...subscribe, ...start }))
  })
  return app
}

/** Publishes events and returns their ids. */
export async function publish (app: FastifyInstance, topic: string, ...data: string[]): Promise<string[]> {
  return (await app.topics.publish(topic, data.map(text => ({ data: text })))).ids
}
