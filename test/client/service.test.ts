import t from 'tap'
import type { Test } from 'tap'
import { subscribe } from '../../plugin/client/index.ts'
import { checkExactness } from '../support/exactness.ts'
import type { ExactClient } from '../support/exactness.ts'
import { ServiceProcess } from '../support/service/service-process.ts'
import { StubbornPublisher } from '../support/service/stubborn-publisher.ts'

const TOPICS = ['a', 'b', 'c']
const ROUNDS = 4
const PER_ROUND = 60

/** Records everything that a subscription reports, in a form that can be compared. */
async function listen (t: Test, origin: string, topics: readonly string[]): Promise<ExactClient> {
  const subscription = subscribe({ url: `${origin}/events`, topics, backoff: { initialMs: 20, maxMs: 200 } })
  t.teardown(() => subscription.close())
  const events: ExactClient['events'] = []
  const gaps: unknown[] = []
  const refusals: unknown[] = []
  let look = (): void => {}
  subscription.addEventListener('message', ({ data, id, topic }) => {
    if (topic !== data.split(' ')[0]) refusals.push(`${data} as an event of ${topic}`)
    events.push({ cursor: id, data })
    look()
  })
  subscription.addEventListener('gap', ({ detail }) => { gaps.push(detail) })
  subscription.addEventListener('error', ({ detail }) => { if (!detail.willRetry) refusals.push(detail) })
  await new Promise<void>(resolve => subscription.addEventListener('open', () => resolve(), { once: true }))
  const untilData = (wanted: readonly string[]): Promise<void> => new Promise(resolve => {
    look = () => { if (wanted.every(data => events.some(event => event.data === data))) resolve() }
    look()
  })
  return { topics, events, gaps, refusals, untilData }
}

t.test('over kill -9 of the service under load each event is received once and in order, with its topic and its own id', async t => {
  const service = await ServiceProcess.start(t)
  const { origin } = service
  const clients = await Promise.all([['a'], ['c', 'a'], ['a', 'b', 'c']].map(topics => listen(t, origin, topics)))
  let count = 0
  let enough = (): void => {}
  const publishers = ['p', 'q'].map(name => new StubbornPublisher({
    name,
    topics: TOPICS,
    origin: () => service.up.then(() => origin),
    onAcknowledged: () => {
      if (++count % PER_ROUND === 0) enough()
    }
  }))
  for (let round = 0; round < ROUNDS; round++) {
    await new Promise<void>(resolve => { enough = resolve })
    await service.kill()
    await service.start()
  }
  await checkExactness(t, origin, TOPICS, publishers, clients)
})
