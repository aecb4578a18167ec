import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import topics, { MemoryLog } from '../../../plugin/topics/index.ts'
import type { TopicLog } from '../../../plugin/topics/index.ts'

/** An app with topics and without routes, closed after the test. */
export async function startTopics (t: Test, log: TopicLog = new MemoryLog()): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(topics, { log })
  // A server keeps the process alive, as in a real application: timers of leases do not.
  await app.listen({ host: '127.0.0.1', port: 0 })
  return app
}

/** All items of an iterable. */
export async function collect<T> (items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** A producer of another process that has died: it appends the given events and never does anything again. */
export async function abandon (log: TopicLog, topic: string, data: readonly string[], leaseMs = 150): Promise<void> {
  const { fence } = await log.lease(topic, { do: 'take', holder: 'dead', leaseMs, takeOver: false })
  await log.append(topic, data.map(text => ({ event: undefined, data: text, retry: undefined })), {
    lease: { fence, accepted: 0 }
  })
}
