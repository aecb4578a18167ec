import t from 'tap'
import type { NewEvent } from '../../../../plugin/topics/index.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { silentLogger } from '../../../support/redis/redis-server.ts'
import { RedisApp } from '../../../support/redis/redis-app.ts'

// Data that another program wrote into Redis or sent to a topic's channel. Regression: one event with a line break in
// its name ended every process that followed the topic, and one message with a negative length kept them busy until
// their memory was exhausted.

const FOREIGN: NewEvent[] = [
  { event: 'a\nid: 7', data: '1', retry: undefined },
  { event: 'open', data: '2', retry: undefined },
  { event: 'stream.gap', data: '3', retry: undefined },
  { event: 'fine', data: '4\u0000', retry: 5_000 },
  { event: undefined, data: '5', retry: 4_000_000_000 },
  { event: undefined, data: '6', retry: 0.5 }
]

t.test('an event that cannot be sent is converted, live and from the log', async t => {
  const redis = await RedisApp.start(t)
  const other = new RedisLog({ connection: redis.server.url })
  await other.start(silentLogger)
  t.teardown(() => other.stop())
  const live = await redis.connect('a')
  await other.append('a', FOREIGN)
  const expected = [
    { event: '\ufffd', data: '1' }, { event: '\ufffd', data: '2' }, { event: '\ufffd', data: '3' },
    { event: 'fine', data: '4\ufffd' }, { data: '5' }, { data: '6' }
  ]
  const [opened, ...events] = await live.next(7)
  t.match(events, expected)
  t.equal(live.retryMs, 5_000, 'no other value reached the client')
  t.match((await (await redis.connect('a', opened!.id)).next(7)).slice(1), expected)
  t.match((await redis.app.topics.read('a')).events, expected)
})

t.test('an unreadable message causes the log to be queried', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('a')
  await redis.publish('a', '1')
  const messages = [
    'E 1 2 999999999\n0 -5 \n', 'E 1 2 999999999\n-3 0 \n', 'E 1e99 2 1\n0 1 \nx', 'E 1 2.5 1\n0 1 \nx',
    'E 1 2 x\n0 1 \nx', 'E 1 2 2\n0 1 \nx',
    'E 1 2 1\n0 1e9 \nx', 'E 1 2 1\n', 'E', '', 'X 1 2 1\n0 1 \nx', 'C', 'D\n'
  ]
  await redis.server.with(async client => {
    for (const message of messages) await client.publish('sse:{a}:db0', message)
  })
  await redis.publish('a', '2')
  t.same((await stream.next(3)).map(({ data }) => data), ['', '1', '2'])
})
