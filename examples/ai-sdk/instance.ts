import { convertToModelMessages, generateId, streamText, toUIMessageStream } from 'ai'
import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import { createChatStreams } from 'fastify-resumable-sse/ai'
import topics from 'fastify-resumable-sse/topics'
import { RedisLog } from 'fastify-resumable-sse/topics/redis'
import { pages } from '../shared/pages.ts'
import { model } from './model.ts'

interface Message { id: string, role: string, parts: unknown[] }
interface Chat { Params: { id: string } }

const { PORT = '3001', REDIS_URL = 'redis://127.0.0.1:6379' } = process.env
const id = { type: 'string', pattern: '^[A-Za-z0-9-]{1,64}$' }
const params = { type: 'object', properties: { id } }
const body = { type: 'object', required: ['id', 'messages'], properties: { id, messages: { type: 'array' } } }

const app = Fastify({ logger: true })
await app.register(sse)
await app.register(topics, {
  log: new RedisLog({
    connection: REDIS_URL,
    // For the messages of a chat only the latest list is kept, and for an answer every chunk.
    retention: [{ topics: 'messages/*', maxEvents: 1 }, { topics: 'chats/*', maxEvents: 50_000 }]
  })
})
await app.register(pages, { folder: import.meta.dirname })

// `leaseMs`: how soon an answer counts as lost after its process was killed.
const chats = createChatStreams(app.topics, { leaseMs: 3_000, ttlMs: 86_400_000 })

// Replaces your database.
const save = (id: string, messages: Message[]) => app.topics.publish(`messages/${id}`, { data: messages })
async function load (id: string): Promise<Message[]> {
  const { events: [saved] } = await app.topics.read(`messages/${id}`)
  return saved ? JSON.parse(saved.data) as Message[] : []
}

app.get<Chat>('/api/chat/:id', { schema: { params } }, async ({ params: { id } }) => ({ messages: await load(id) }))

// Starts the answer, which is generated whether or not anybody reads it, and sends it.
app.post<{ Body: { id: string, messages: Message[] } }>('/api/chat', { schema: { body } }, async (request, reply) => {
  const { id, messages } = request.body
  await save(id, messages)
  await chats.start(id, async ({ signal }) => {
    const { stream } = streamText({ model, messages: await convertToModelMessages(messages), abortSignal: signal })
    return toUIMessageStream({
      stream,
      originalMessages: messages,
      generateMessageId: generateId,
      messageMetadata: () => ({ pid: process.pid }),
      onEnd: ({ messages }: { messages: Message[] }) => save(id, messages)
    })
  })
  return chats.reply(reply, id)
})

// After a reload or in a second tab: the answer from its beginning, or 204 if none is being written.
app.get<Chat>('/api/chat/:id/stream', { schema: { params } }, ({ params: { id } }, reply) => chats.resume(reply, id))

// The stop button.
app.post<Chat>(
  '/api/chat/:id/stop',
  { schema: { params } },
  async ({ params: { id } }) => ({ stopped: await chats.stop(id) })
)

await app.listen({ port: Number(PORT) })
