import t from 'tap'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import type { NewEvent } from '../../../plugin/topics/index.ts'
import { Registry } from 'prom-client'
import { MeteredLog } from '../../../service/metrics/metered-log.ts'
import { open, stall } from '../../support/clients/client.ts'
import { until } from '../../support/until.ts'
import { TestService } from '../../support/service/service-app.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

interface Stream {
  topics: string[]
  subject?: string
  ageMs: number
  events: number
  bytes: number
  behind: number
  waitingBytes: number
}
interface Streams { open: number, lagging: number, streams: Stream[] }
interface Topics { topics: { topic: string, last: string | null, subscribers: number }[], total: number }

const topicsOf = async (service: TestService, query = '', headers = {}): Promise<Topics> =>
  (await service.call(`/topics${query}`, { headers })).json as Topics
const streamsOf = async (service: TestService, query = '', headers = {}): Promise<Streams> =>
  (await service.call(`/streams${query}`, { headers })).json as Streams
const namesOf = ({ topics }: Topics): string[] => topics.map(({ topic }) => topic)

t.test('topics that were published to or subscribed to are listed, the most recently active first', async t => {
  const service = await TestService.start(t)
  t.same(await topicsOf(service), { topics: [], total: 0 })
  await service.publish('a', [{ data: 1 }, { data: 2 }])
  await service.publish('b', { data: 1 })
  const listening = await open(t, `${service.origin}/events?topic=c&topic=a`)
  await listening.inbox.until('stream.open')
  await service.publish('a', { data: 3 })
  t.match(await topicsOf(service), {
    topics: [{ topic: 'a', last: /^\d+-3$/, subscribers: 1 }, { topic: 'c', last: null, subscribers: 1 }, {
      topic: 'b', last: /^\d+-1$/, subscribers: 0
    }],
    total: 3
  })
  t.same(namesOf(await topicsOf(service, '?limit=1')), ['a'])
  await service.call('/topics/b', { method: 'DELETE' })
  t.same(namesOf(await topicsOf(service)), ['a', 'c'])
})

t.test('a limit out of range is rejected', async t => {
  const service = await TestService.start(t)
  for (const path of ['/topics', '/streams']) {
    for (const query of ['?limit=0', '?limit=1001', '?limit=x', '?limit=1&limit=2', '?topic=a']) {
      t.equal((await service.call(path + query)).status, 400, path + query)
    }
  }
})

t.test('open streams are listed with their lag, and a slow client is behind by the events that it has not received', async t => {
  const service = await TestService.start(t, { HEARTBEAT_MS: '60000', MAX_BODY_BYTES: '10000000' })
  const slow = await stall(t, service.origin, '/events?topic=news')
  const quick = await open(t, `${service.origin}/events?topic=news`)
  await quick.inbox.until('stream.open')
  const lagOf = async (): Promise<number> => (await streamsOf(service)).streams[0]?.behind ?? 0
  let published = 0
  while (await lagOf() === 0) {
    await service.publish('news', { data: 'x'.repeat(200_000) })
    published++
  }
  const { open: count, lagging, streams: [first, second] } = await streamsOf(service)
  t.same([count, lagging], [2, 1])
  t.match(first, { topics: ['news'], ageMs: Number, bytes: Number })
  t.equal(first!.events + first!.behind, published)
  t.ok(first!.waitingBytes > 0)
  await quick.inbox.untilBytes(published * 200_000)
  t.match(second, { topics: ['news'], events: published, behind: 0 })
  t.equal((await streamsOf(service, '?limit=1')).streams.length, 1)
  slow.socket.resume()
  await until(async () => (await streamsOf(service)).streams[0]?.behind === 0)
  slow.socket.destroy()
  await until(async () => (await streamsOf(service)).open === 1)
})

t.test('credentials see the topics that they may subscribe or publish to, and no subject but their own', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  t.same([(await service.call('/topics')).status, (await service.call('/streams')).status], [401, 401])
  const all = bearer(await sign({ sub: 'root' }))
  await service.publish('a', { data: 1 }, { headers: all })
  await service.publish('b', { data: 1 }, { headers: all })
  await service.publish('c', { data: 1 }, { headers: all })
  for (const [sub, topics] of [['alice', ['a']], ['bob', ['a', 'b']]] as const) {
    const stream = await open(t, `${service.origin}/events?${topics.map(topic => `topic=${topic}`).join('&')}`, {
      headers: bearer(await sign({ sub }))
    })
    await stream.inbox.until('stream.open')
  }
  const alice = bearer(await sign({ topics: { subscribe: ['a'], publish: ['c'] } }))
  t.same(namesOf(await topicsOf(service, '', alice)).sort(), ['a', 'c'])
  t.match((await streamsOf(service, '', alice)).streams, [{ topics: ['a'], subject: 'alice' }])
  t.same((await streamsOf(service, '', all)).streams.map(({ subject }) => subject), [undefined, undefined])
  const revoker = bearer(await sign({ sub: 'ops', topics: { subscribe: ['*'], revoke: true } }))
  t.same((await streamsOf(service, '', revoker)).streams.map(({ subject }) => subject), ['alice', 'bob'])
})

const event: NewEvent = { event: undefined, data: 'x', retry: undefined }

// Topics named by clients must not fill the memory.
t.test('a thousand topics are remembered at most', async t => {
  const log = new MeteredLog(new MemoryLog(), new Registry())
  for (let at = 0; at < 1_001; at++) await log.append(`topic-${at}`, [event])
  t.equal(log.seen.size, 1_000)
  t.equal(log.seen.newest().at(-1)?.topic, 'topic-1')
})

t.test('an older id of a topic changes nothing, a listener receives every call, and nothing is kept of a removed one', async t => {
  const inner = new MemoryLog()
  const log = new MeteredLog(inner, new Registry())
  const heard: string[] = []
  const listener = {
    onEntries: () => heard.push('entries'),
    onClosed: () => heard.push('closed'),
    onResync: () => heard.push('resync'),
    onStop: () => heard.push('stop')
  }
  await log.unfollow('a', listener)
  await log.follow('a', listener)
  await inner.append('a', [event])
  log.seen.see('a', { ms: 0, n: 0 })
  t.match(log.seen.newest(), [{ topic: 'a', last: { n: 1 } }])
  await inner.close('a')
  await inner.delete('a')
  const { fence } = await inner.lease('a', { do: 'take', holder: 'x', leaseMs: 60_000, takeOver: false })
  await log.lease('a', { do: 'stop', fence })
  t.same(heard, ['entries', 'closed', 'resync', 'resync', 'stop'])
  await log.unfollow('a', listener)
  await inner.append('a', [event])
  t.equal(heard.length, 5)
})

t.test('a follow that fails leaves nothing behind and can be retried', async t => {
  const inner = new MemoryLog()
  const { follow } = inner
  inner.follow = () => Promise.reject(new Error('away'))
  const log = new MeteredLog(inner, new Registry())
  const listener = { onEntries () {}, onClosed () {}, onResync () {}, onStop () {} }
  await t.rejects(log.follow('a', listener), { message: 'away' })
  t.same(log.seen.newest(), [])
  inner.follow = follow
  t.match(await log.follow('a', listener), { count: 0 })
})
