import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import type { FastifyPluginAsync } from 'fastify'
import { answerMemory, dataOf } from './workload.ts'
import type { ServerNews, ServerOrder } from './workload.ts'

/** What it puts on a reply. Its own types would clash with ours, which have the same name. */
interface Peer { keepAlive: () => void, send: (event: { id?: string, event?: string, data: string }) => Promise<void> }

/** A peer: @fastify/sse, fanning out in memory as its README does, each event to all clients. It keeps no log and resumes nothing. */
const name = '@fastify/sse'
const { default: peer } = await import(name) as { default: FastifyPluginAsync }
const app = Fastify()
await app.register(peer)
const clients = new Set<Peer>()
app.get('/live', { sse: true as never }, async (request, reply) => {
  const client = (reply as unknown as { sse: Peer }).sse
  client.keepAlive()
  await client.send({ event: 'stream.open', data: '' })
  clients.add(client)
  request.raw.on('close', () => clients.delete(client))
})

async function publish ({ events, marker }: Extract<ServerOrder, { kind: 'publish' | 'prepare' }>): Promise<void> {
  for (let n = 1; n <= events; n++) {
    const event = { id: String(n), data: dataOf(n, n === events ? marker : undefined) }
    await Promise.all([...clients].map(client => client.send(event)))
  }
}

process.on('message', (order: ServerOrder) => {
  if (order.kind === 'publish') void publish(order)
  if (order.kind === 'memory') void answerMemory()
})
await app.listen({ host: '127.0.0.1', port: 0 })
process.send?.({ kind: 'listening', port: (app.server.address() as AddressInfo).port } satisfies ServerNews)
