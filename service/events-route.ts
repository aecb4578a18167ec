import type { FastifyInstance } from 'fastify'
import { show } from '../plugin/errors.ts'
import type { SubscribeOptions } from '../topics/index.ts'
import { parseDuration } from './duration.ts'
import { errors } from './errors.ts'

type Value = string | string[] | undefined
type Query = Partial<Record<'topic' | 'lastEventId' | 'since' | 'last', Value>>

/** `GET /events?topic=a&topic=b[&lastEventId=][&since=10m][&last=20]`: the stream. */
export function eventsRoute (app: FastifyInstance): void {
  app.get<{ Querystring: Query }>('/events', (request, reply) => {
    const { topic, ...rest } = request.query
    if (topic === undefined) throw new errors.SERVICE_BAD_QUERY('topic', 'given at least once, as in /events?topic=news', 'none')
    return reply.sse(app.topics.subscribe(topic, subscribeOptions(rest)))
  })
}

function subscribeOptions (query: Query): SubscribeOptions {
  const since = single('since', query.since)
  const last = single('last', query.last)
  return { after: single('lastEventId', query.lastEventId) || undefined, sinceMs: readSince(since), last: readLast(last) }
}

function readSince (text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = parseDuration(text)
  if (ms === undefined) throw new errors.SERVICE_BAD_QUERY('since', 'a duration such as 30s, 10m, 2h or 1d', show(text))
  return ms
}

function readLast (text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text)) throw new errors.SERVICE_BAD_QUERY('last', 'a number of events', show(text))
  return Number(text)
}

function single (name: string, value: Value): string | undefined {
  if (Array.isArray(value)) throw new errors.SERVICE_BAD_QUERY(name, 'given once', show(value))
  return value
}
