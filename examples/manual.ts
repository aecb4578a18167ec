// Manual use: reply.sse() without a source gives the stream. send() waits until the client has room.
//
//   npm run build && node dist/examples/manual.js
//   curl -N 'http://127.0.0.1:3000/primes?below=50'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import sse from 'fastify-resumable-sse'
import type { SseStream } from 'fastify-resumable-sse'

interface Events { prime: number, done: { count: number } }

const querySchema = { type: 'object', properties: { below: { type: 'integer', minimum: 0, maximum: 100_000, default: 100 } } }

function isPrime (n: number): boolean {
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false
  return n > 1
}

/** Sends the primes after the one the client saw last, at the client's own pace. Stops when it leaves. */
async function sendPrimes (stream: SseStream<Events>, below: number): Promise<void> {
  let count = 0
  // A header is what any client likes to send: what is no number begins anew.
  const after = /^\d{1,6}$/.test(stream.lastEventId ?? '') ? Number(stream.lastEventId) : 1
  for (let n = after + 1; n < below; n++) {
    if (!isPrime(n)) continue
    if (!(await stream.send({ id: n, event: 'prime', data: n }))) return
    count++
  }
  stream.end({ event: 'done', data: { count } })
}

/** `GET /primes?below=n`: events `prime`, then one `done`. */
export async function build (): Promise<FastifyInstance> {
  const app = Fastify({ logger: true })
  await app.register(sse)
  app.get<{ Querystring: { below: number }, Sse: Events }>('/primes', { schema: { querystring: querySchema } }, async (request, reply) => {
    const stream = reply.sse()
    await sendPrimes(stream, request.query.below)
    return reply
  })
  return app
}

if (process.argv[1] === import.meta.filename) {
  const app = await build()
  await app.listen({ port: Number(process.env.PORT ?? 3000) })
}
