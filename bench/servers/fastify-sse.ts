import Fastify from 'fastify'
import type { FastifyPluginAsync } from 'fastify'
import { answerCalls } from './answers.ts'
import { readLines } from './text-body.ts'
import type { EventsRoute, PublishRoute } from './text-body.ts'

/** What it adds to a reply. Its own types would conflict with ours, which have the same name. */
interface Peer { keepAlive: () => void, send: (event: { id?: string, event?: string, data: string }) => Promise<void> }

/** @fastify/sse, fanning out each event to all clients in memory, as in its README. */
const name = '@fastify/sse'
const { default: peer } = await import(name) as { default: FastifyPluginAsync }
const app = Fastify()
readLines(app)
await app.register(peer)
const clients = new Set<Peer>()
let events = 0
app.get<EventsRoute>('/events', { sse: true as never }, async (request, reply) => {
  const client = (reply as unknown as { sse: Peer }).sse
  client.keepAlive()
  clients.add(client)
  request.raw.on('close', () => clients.delete(client))
  // A client counts as connected when its first bytes arrive, so by then it must receive events.
  await client.send({ event: 'open', data: '' })
})
app.post<PublishRoute>('/publish', async request => {
  for (const data of request.body) {
    const event = { id: String(++events), data }
    await Promise.all([...clients].map(client => client.send(event)))
  }
  return { id: String(events) }
})
await app.listen({ host: '127.0.0.1', port: 0 })
answerCalls(app.server)
