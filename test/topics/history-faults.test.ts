import t from 'tap'
import { injectSse } from '../../plugin/testing/index.ts'
import { until } from '../support/until.ts'
import { randomFrom, seedFrom } from '../support/random.ts'
import { RedisApp } from '../support/redis/redis-app.ts'

// The documented guarantee of "render the history, then subscribe": whatever happens to Redis meanwhile, the pages and
// the events after their cursor together contain every event once, with a stream and with a loop.

const EVENTS = 240
const KILLS = 4

/** What a reader has received so far. */
interface History { cursor: string | undefined, data: string[] }

/** Without a pause, requests that are answered at once would leave no time for the connection to Redis. */
const pause = (): Promise<void> => new Promise(resolve => { setTimeout(resolve, 5) })

/** Retries while Redis is down, as a careful application does. */
async function again<T> (ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if ((error as { code?: string }).code !== 'TOPICS_LOG_UNAVAILABLE') throw error
    }
    await pause()
  }
}

async function readPages ({ app }: RedisApp, count: number, limit: number): Promise<History> {
  const history: History = { cursor: undefined, data: [] }
  while (count > 0) {
    const page = await again(() => app.topics.read('a', { after: history.cursor, limit }))
    if (page.gap) throw new Error(`a gap: ${JSON.stringify(page.gap)}`)
    history.cursor = page.cursor
    history.data.push(...page.events.map(({ data }) => data))
    if (page.events.length > 0) count--
  }
  return history
}

/** Reconnects with its last id whenever the stream ends, as EventSource does. */
async function streamToEnd ({ app }: RedisApp, { cursor, data }: History): Promise<string[]> {
  const all = [...data]
  let last = cursor!
  while (all.length < EVENTS) {
    const stream = await injectSse(app, { url: '/events?topic=a', headers: { 'last-event-id': last } })
    for await (const event of stream) {
      last = event.id ?? last
      if (event.event !== 'stream.open') all.push(event.event === 'message' ? event.data : event.event)
      if (all.length >= EVENTS) break
    }
    stream.close()
    await pause()
  }
  return all
}

async function loopToEnd ({ app }: RedisApp, { cursor, data }: History): Promise<string[]> {
  const all = [...data]
  let last = cursor!
  await again(async () => {
    for await (const item of app.topics.subscribe('a', { after: last })) {
      last = item.cursor
      all.push(item.kind === 'event' ? item.data : item.kind)
      if (all.length >= EVENTS) return
    }
  })
  return all
}

t.test('history, then a stream or a loop from its cursor: every event is received once while Redis is killed under load', async t => {
  const seed = seedFrom('HISTORY_SEED')
  t.comment(`HISTORY_SEED=${seed}`)
  const random = randomFrom(seed)
  const redis = await RedisApp.start(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const expected = Array.from({ length: EVENTS }, (_, at) => `e${at}`)
  let published = 0
  const publishing = (async () => {
    for (const data of expected) {
      await redis.publishAtLast('a', data)
      published++
    }
  })()
  const killing = (async () => {
    for (let round = 0; round < KILLS; round++) {
      const wanted = Math.min(EVENTS, published + random(EVENTS / KILLS))
      await until(() => published >= wanted)
      await redis.server.kill()
      await redis.server.start()
    }
  })()
  const reading = [1, 2, 5, 9].map(async pages => {
    const history = await readPages(redis, pages, 1 + random(20))
    return Promise.all([streamToEnd(redis, history), loopToEnd(redis, history)])
  })
  const read = (await Promise.all(reading)).flat()
  await Promise.all([publishing, killing])
  for (const all of read) t.same(all, expected)
  await until(() => redis.app.topics.counts.topics === 0)
})
