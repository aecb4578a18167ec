import { EventEmitter, on } from 'node:events'
import Fastify from 'fastify'
import type { FastifyPluginAsync, FastifyReply } from 'fastify'
import { answerCalls } from './answers.ts'
import { readLines } from './text-body.ts'
import type { EventsRoute, PublishRoute } from './text-body.ts'

interface Message { id?: string, event?: string, data: string }
/** What it adds to a reply. Its own types would conflict with ours, which have the same name. */
type Peer = FastifyReply & { sse: (source: AsyncIterable<Message>) => void }

/** fastify-sse-v2 with an event emitter as the source of each reply, as in its README. */
const name = 'fastify-sse-v2'
const { FastifySSEPlugin } = await import(name) as { FastifySSEPlugin: FastifyPluginAsync }
const app = Fastify()
readLines(app)
await app.register(FastifySSEPlugin)
const updates = new EventEmitter().setMaxListeners(0)
let events = 0
app.get<EventsRoute>('/events', (request, reply) => {
  const ended = new AbortController()
  request.socket.on('close', () => ended.abort())
  ;(reply as unknown as Peer).sse(messages(ended.signal))
})

async function * messages (signal: AbortSignal): AsyncGenerator<Message> {
  const heard = on(updates, 'update', { signal })
  yield { event: 'open', data: '' }
  try {
    for await (const [message] of heard) yield message as Message
  } catch {
    // The client has disconnected.
  }
}
app.post<PublishRoute>('/publish', async request => {
  for (const data of request.body) updates.emit('update', { id: String(++events), data } satisfies Message)
  return { id: String(events) }
})
await app.listen({ host: '127.0.0.1', port: 0 })
answerCalls(app.server)
