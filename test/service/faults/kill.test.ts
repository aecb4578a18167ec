import t from 'tap'
import type { Test } from 'tap'
import { deferred } from '../../../plugin/common/deferred.ts'
import { checkExactness } from '../../support/exactness.ts'
import { randomFrom, seedFrom } from '../../support/random.ts'
import { ResumingClient } from '../../support/clients/resuming-client.ts'
import { ServiceProcess } from '../../support/service/service-process.ts'
import { StubbornPublisher } from '../../support/service/stubborn-publisher.ts'

// kill -9 at random moments while everybody continues: publishers repeat what was not acknowledged, and clients
// reconnect as EventSource does. `npm run soak` runs more rounds.

const ROUNDS = Number(process.env.KILL_ROUNDS ?? 6)
const TOPICS = ['a', 'b']
/**
 * A round ends after at most this many acknowledgements; possibly after none, so that a service is also killed while it
 * starts.
 */
const MAX_PER_ROUND = 80

/** Counts the acknowledgements of all publishers, and can wait for a number of further ones. */
class Counter {
  #count = 0
  #wanted = 0
  #reached = deferred<void>()

  add (): void {
    if (++this.#count >= this.#wanted) this.#reached.settle()
  }

  async more (count: number): Promise<void> {
    this.#wanted = this.#count + count
    this.#reached = deferred()
    if (count > 0) await this.#reached.promise
  }
}

async function killAgainAndAgain (t: Test, rounds: number, durability: string): Promise<void> {
  const seed = seedFrom('KILL_SEED')
  t.comment(`KILL_SEED=${seed} KILL_ROUNDS=${rounds}`)
  const random = randomFrom(seed)
  const service = await ServiceProcess.start(t, { DURABILITY: durability, MAX_EVENTS: '1000000' })
  const { origin } = service
  const clients = await Promise.all(
    [['a'], ['a'], ['b'], ['a', 'b'], ['a', 'b']].map(topics => ResumingClient.start(t, { origin, topics }))
  )
  const counter = new Counter()
  const publishers = ['p', 'q', 'r', 's'].map(name => new StubbornPublisher({
    name,
    topics: TOPICS,
    origin: () => service.up.then(() => origin),
    onAcknowledged: () => counter.add()
  }))
  for (let round = 0; round < rounds; round++) {
    await counter.more(random(MAX_PER_ROUND))
    await service.kill()
    await service.start()
  }
  await checkExactness(t, origin, TOPICS, publishers, clients)
  const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b)
  t.comment(`${sum(publishers.map(({ acknowledged }) => acknowledged.length))} events, ${sum(publishers.map(({ failures }) => failures))} tries cut, ` +
    `${sum(publishers.map(({ repeats }) => repeats))} of them stored, ${sum(clients.map(({ connects }) => connects))} streams`)
}

t.test(`killed ${ROUNDS} times under load: nothing acknowledged is lost, nothing is repeated, every client receives all events in order`, async t => {
  await killAgainAndAgain(t, ROUNDS, 'process')
})

t.test('the same holds when every event is flushed to the disk first', async t => {
  await killAgainAndAgain(t, Math.ceil(ROUNDS / 8), 'disk')
})
