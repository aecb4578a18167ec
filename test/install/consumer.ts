// A program of a user who has installed only the library. declarations.test.ts compiles it with each TypeScript
// version.
import Fastify from 'fastify'
import type { FastifyReply } from 'fastify'
import { generateKeyPairSync } from 'node:crypto'
import { Readable } from 'node:stream'
import sse, { RESET_ID, resumableSse } from 'fastify-resumable-sse'
import type {
  CloseReason,
  OpenableSource,
  SseEvent,
  SsePluginOptions,
  SseSource,
  SseStream,
  WireEvent
} from 'fastify-resumable-sse'
import { auth, Grant } from 'fastify-resumable-sse/auth'
import type { AuthOptions, PublicKey } from 'fastify-resumable-sse/auth'
import topics, { MemoryLog } from 'fastify-resumable-sse/topics'
import type { PublishEvent, TopicLog, Topics, TopicSource } from 'fastify-resumable-sse/topics'
import { injectSse } from 'fastify-resumable-sse/testing'
import { subscribe } from 'fastify-resumable-sse/client'

interface Prices { price: { cents: number }, message: string }

const options: SsePluginOptions = { heartbeatMs: 1_000, onClose: (reason: CloseReason) => { console.log(reason) } }
const log: TopicLog = new MemoryLog()
const key: PublicKey = {
  publicKey: generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }), algorithm: 'EdDSA'
}
const signIn: AuthOptions = {
  jwt: key, cookie: { name: 'sid', verify: name => ({ subject: name, subscribe: ['news'] }) }
}

const app = Fastify()
await app.register(sse, options)
await app.register(resumableSse)
await app.register(auth, signIn)
await app.register(topics, { log })
export const all: Topics = app.topics

app.get('/value', (request, reply) => reply.sse({ id: RESET_ID, event: 'tick', data: { n: 1 } }))
app.get(
  '/readable',
  { sse: { retryMs: false } },
  (request, reply) => reply.sse(Readable.from(['a', 'b']), { slowClient: 'drop' })
)
app.get('/fetch', async (request, reply) => reply.sse(await fetch('http://127.0.0.1:8080/events')))
// With the DOM library this is a different type from the stream of node:stream/web.
app.get('/web', (request, reply) => reply.sse(new ReadableStream({ start (controller) { controller.enqueue('a') } })))
app.get('/granted', { grant: true }, (request, reply) => {
  const { grant } = request
  if (!(grant instanceof Grant)) throw new Error('none')
  return reply.sse(app.topics.subscribe(`orders.${grant.subject}`))
})
app.get<{ Sse: Prices, Params: { id: string } }>('/typed/:id', (request, reply) => reply.sse(async function * (stream) {
  stream.signal.throwIfAborted()
  yield { event: 'price', data: { cents: request.params.id.length } }
  yield request.lastEventId ?? 'a message'
}, { retryMs: 1_000 }))
app.get<{ Sse: Prices }>('/topic', (request, reply) => reply.sse(app.topics.subscribe('prices', { last: 1 })))
app.get<{ Sse: Prices }>('/typed-topic', (request, reply) => reply.sse(app.topics.subscribe<Prices>('prices')))
app.get<{ Sse: Prices }>('/manual', async (request, reply) => {
  const stream = reply.sse()
  await stream.send({ event: 'price', data: { cents: 1 } })
  stream.end({ data: 'the end' })
  return reply
})
await app.topics.publish<Prices>('prices', { event: 'price', data: { cents: 1 } }, { idempotencyKey: 'a' })

const event: PublishEvent<Prices> & SseEvent<Prices> = { event: 'price', data: { cents: 1 } }
const wire: WireEvent = event
const source: TopicSource = app.topics.subscribe(['a', 'b'])
const openable: OpenableSource = source
export const sources: SseSource[] = [wire, source, openable, [wire], 'text', 5n]
export const answer = (reply: FastifyReply): SseStream => reply.sse(undefined, { heartbeatMs: 10 })

const { events } = await injectSse(app, '/value')
console.log(events)

const subscription = subscribe<{ score: number }>({ url: 'http://127.0.0.1:1/events', topics: ['news'], parse: Number })
subscription.addEventListener('score', ({ data }) => data.toFixed())
subscription.addEventListener('gap', ({ detail }) => detail.missed?.toFixed())
subscription.close()
