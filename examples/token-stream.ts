// Streams the answer of a language model token by token. When the reader leaves, the model stops working.
//
//   npm run build && node dist/examples/token-stream.js
//   curl -N http://127.0.0.1:3000/answers -H 'content-type: application/json' -d '{"prompt":"good morning"}'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import sse from 'fastify-resumable-sse'

interface Question { prompt: string }

const bodySchema = { type: 'object', required: ['prompt'], properties: { prompt: { type: 'string', minLength: 1 } } }

/** Stands for a model: anything that gives an async iterable and takes an AbortSignal will do. */
async function * complete (prompt: string, signal: AbortSignal): AsyncGenerator<string> {
  for (const token of `You said: ${prompt}`.split(/(?<= )/)) {
    await sleep(20, undefined, { signal })
    yield token
  }
}

/** `POST /answers`: events `token`, then one `done`. The reader is fetch() or curl, so nothing reconnects and asks twice. */
export async function build (): Promise<FastifyInstance> {
  const app = Fastify({ logger: true })
  await app.register(sse)
  app.post<{ Body: Question }>('/answers', { schema: { body: bodySchema } }, (request, reply) => {
    return reply.sse(async function * (stream) {
      let tokens = 0
      try {
        for await (const token of complete(request.body.prompt, stream.signal)) {
          yield { event: 'token', data: token }
          tokens++
        }
        yield { event: 'done', data: { tokens } }
      } finally {
        // Runs in every case: `closeReason` is undefined at the end, 'client' when the reader left.
        request.log.info({ tokens, closeReason: stream.closeReason }, 'answer over')
      }
    })
  })
  return app
}

if (process.argv[1] === import.meta.filename) {
  const app = await build()
  await app.listen({ port: Number(process.env.PORT ?? 3000) })
}
