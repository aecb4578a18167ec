import { setImmediate } from 'node:timers/promises'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { Turns } from '../../plugin/common/turns.ts'
import sse from '../../plugin/index.ts'
import topics, { MemoryLog } from '../../plugin/topics/index.ts'

const MANY = 40
const ROUNDS = 20

/** How long some rounds of the event loop take, in ms. */
async function timeRounds (): Promise<number> {
  const begunAt = performance.now()
  for (let round = 0; round < ROUNDS; round++) await setImmediate()
  return performance.now() - begunAt
}

/** The same while `count` producers have sources that are always ready. */
async function timeProducing (app: FastifyInstance, name: string, count: number): Promise<number> {
  const source = function * ({ signal }: { signal: AbortSignal }): Generator<{ data: string }> {
    while (!signal.aborted) yield { data: '' }
  }
  const names = Array.from({ length: count }, (_, at) => `${name}/${at}`)
  const producers = await Promise.all(names.map(name => app.topics.produce(name, source)))
  const took = await timeRounds()
  await Promise.all(producers.map(producer => producer.stop()))
  t.ok(producers.every(({ accepted }) => accepted > 0), 'each had its turn')
  return took
}

// Regression: each producer worked for 5 ms before other work had its turn, so a hundred live publishes of 20 KB, which
// were 20 million empty lines each, delayed all other requests by 14 s.
t.test('sources that are always ready share the time of one: other work does not wait longer for more of them', async t => {
  const app = Fastify()
  await app.register(sse)
  await app.register(topics, { log: new MemoryLog() })
  t.teardown(() => app.close())
  await app.ready()
  await timeProducing(app, 'warm-up', 1)
  const one = await timeProducing(app, 'one', 1)
  const many = await timeProducing(app, 'many', MANY)
  t.ok(many < one * MANY / 4, `${one} ms with one, ${many} ms with ${MANY}`)
})

t.test('tasks have their turns in the order in which they ask, one in each round of the event loop', async t => {
  const turns = new Turns()
  const order: string[] = []
  const task = async (name: string): Promise<void> => {
    for (let turn = 0; turn < 2; turn++) {
      await turns.next()
      order.push(name)
    }
  }
  const tasks = Promise.all([task('a'), task('b'), task('c')])
  t.strictSame(order, [])
  await tasks
  t.strictSame(order, ['a', 'b', 'c', 'a', 'b', 'c'])
})

t.test('a turn is over after a few milliseconds, and not after a pause of other work', async t => {
  const turns = new Turns()
  let checks = 0
  while (!turns.mustPause()) checks++
  t.ok(checks > 0)
  await setImmediate()
  t.notOk(turns.mustPause())
})
