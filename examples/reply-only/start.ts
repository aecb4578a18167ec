import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import type { SseStream } from 'fastify-resumable-sse'
import { pages } from '../shared/pages.ts'

interface Clock { tick: { at: Date } }
interface Primes { prime: number }

const querystring = {
  type: 'object', properties: { below: { type: 'integer', minimum: 0, maximum: 100_000, default: 1_000 } }
}

const app = Fastify({ logger: true })
await app.register(sse)
await app.register(pages, { folder: import.meta.dirname })

// An endless stream. The generator waits while the client is slow, and stops when it disconnects.
app.get<{ Sse: Clock }>('/clock', (request, reply) => reply.sse(async function * (stream) {
  for (;;) {
    yield { event: 'tick', data: { at: new Date() } }
    await sleep(1_000, undefined, { signal: stream.signal })
  }
}))

// A finite stream, after which EventSource does not reconnect. Each event has an id, so that a client that was
// disconnected continues there.
app.get<{ Querystring: { below: number }, Sse: Primes }>('/primes', { schema: { querystring } }, (request, reply) => {
  return reply.sse(stream => sendPrimes(stream, request.query.below), { final: true })
})

/** Sends the primes after the last one that the client has seen. */
async function sendPrimes (stream: SseStream<Primes>, below: number): Promise<void> {
  // Validated, because a client can send anything in this header.
  const seen = /^\d{1,6}$/.test(stream.lastEventId ?? '') ? Number(stream.lastEventId) : 1
  for (let n = seen + 1; n < below && stream.isOpen; n++) {
    if (!isPrime(n)) continue
    await stream.send({ id: n, event: 'prime', data: n })
    await sleep(50)
  }
}

function isPrime (n: number): boolean {
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false
  return n > 1
}

await app.listen({ port: Number(process.env.PORT ?? 3000) })
