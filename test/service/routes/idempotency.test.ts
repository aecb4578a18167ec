import { gzipSync } from 'node:zlib'
import t from 'tap'
import { until } from '../../support/until.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { refused, shape } from '../../support/refusal.ts'
import { TestService } from '../../support/service/service-app.ts'
import type { Answer } from '../../support/service/service-app.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

const KEY = { 'idempotency-key': 'order-17' }

// Regression: another client with permission to publish to the topic could use the key first: the shop's event was then
// acknowledged with the id of the other event, and dropped.
t.test('another subject cannot use up a key, and each gets a replay of its own event', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const publish = async (sub: string, data: string): Promise<Answer> =>
    service.publish('orders', { data }, { headers: { ...KEY, ...bearer(await sign({ sub })) } })
  const mallory = await publish('mallory', 'junk')
  const shop = await publish('shop', 'order 17 is paid')
  t.equal(shop.headers.get('idempotency-replayed'), null)
  t.not(shop.text, mallory.text)
  for (const [answer, again] of [
    [mallory, await publish('mallory', 'junk')], [shop, await publish('shop', 'order 17 is paid')]
  ] as const) {
    t.equal(again.headers.get('idempotency-replayed'), 'true')
    t.equal(again.text, answer.text)
  }
  t.match((await service.call('/topics/orders', { headers: bearer(await sign()) })).json, { count: 2 })
})

t.test('a key with different events is 422, whatever the body type; the same events are a replay, whatever the body type', async t => {
  const service = await TestService.start(t)
  const { json } = await service.publish('orders', { data: 'paid' }, { headers: KEY })
  const { id } = json as { id: string }
  const NDJSON = 'application/x-ndjson'
  for (const [body, type] of [
    ['{"data":"paid!"}', 'application/json'],
    ['[{"data":"paid"},{"data":"paid"}]', 'application/json'],
    ['{"data":"paid","event":"x"}\n', NDJSON],
    ['Paid', 'text/plain']
  ] as const) {
    t.match(shape(await service.publish('orders', body, { type, headers: KEY })), refused(
      422,
      'TOPICS_IDEMPOTENCY_KEY_REUSED',
      /^idempotency key "order-17" was already used for other events in topic "orders"/
    ), body)
  }
  for (const [body, type] of [
    ['{ "data": "p\\u0061id" }', 'application/json'], ['{"data":"paid"}', NDJSON], ['paid', 'text/plain']
  ] as const) {
    const answer = await service.publish('orders', body, { type, headers: KEY })
    t.same([
      answer.status, answer.headers.get('idempotency-replayed'), answer.text.includes(id)
    ], [201, 'true', true], type)
  }
  const compressed = await fetch(`${service.origin}/topics/orders/events`, {
    method: 'POST',
    body: gzipSync('paid'),
    headers: { ...KEY, 'content-encoding': 'gzip', 'content-type': 'text/plain' }
  })
  t.equal(compressed.headers.get('idempotency-replayed'), 'true')
  t.match(await service.counts('orders'), [{ count: 1 }])
})

// A publisher that gets an error has to know whether its events are in the log: after a time-out that is unknown, and
// the response used to be the same as for events that are certainly not stored.
t.test('an error says whether the events may have been appended, and a retry with the key appends them once', async t => {
  const redis = await RedisServer.start(t)
  const service = await TestService.start(t, { LOG: 'redis', REDIS_URL: redis.url })
  const publish = (): Promise<Answer> => service.publish('orders', { data: 'paid' }, { headers: KEY })
  await service.publish('orders', { data: 'first' })
  redis.pause()
  t.match((await publish()).json, {
    statusCode: 503,
    code: 'TOPICS_LOG_UNAVAILABLE',
    message: 'Service Unavailable: the outcome is unknown: repeat a publish with the same Idempotency-Key'
  })
  redis.unpause()
  await until(async () => (await publish()).status === 201)
  t.match(await service.counts('orders'), [{ count: 2 }])
  await redis.kill()
  await until(async () => (await publish()).text.includes('"message":"Service Unavailable"}'))
})
