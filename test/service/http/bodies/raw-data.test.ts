import { gzipSync } from 'node:zlib'
import t from 'tap'
import type { Test } from 'tap'
import { fetchAll } from '../../../support/clients/client.ts'
import { RedisServer } from '../../../support/redis/redis-server.ts'
import { refused, shape } from '../../../support/refusal.ts'
import { read, TestService } from '../../../support/service/service-app.ts'

const NDJSON = 'application/x-ndjson'

/** The data of all events of a topic, reassembled as a client does; closes the topic. */
async function dataOf (t: Test, service: TestService, topic: string): Promise<string[]> {
  await service.call(`/topics/${topic}/close`, { method: 'POST' })
  const { text } = await fetchAll(t, `${service.origin}/events?topic=${topic}&lastEventId=0-0`)
  const blocks = text.split('\n\n').filter(block => block.includes('data: ') && !block.includes('event: stream.'))
  return blocks.map(block => block.split('\n')
    .filter(line => line.startsWith('data: '))
    .map(line => line.slice('data: '.length))
    .join('\n'))
}

/** JSON that changes when it is parsed and serialized again. */
const RAW = [
  '9007199254740993', '1234567890123456789', '-0', '1e400', '1.10', '[1E5,0.1000000000000000055511151231257827]',
  'null', 'true', '{"id":9007199254740993}', '{"2":"b","1":"a"}',
  '{"a":1,"a":2}', '{"a":"\\u00e9\\ud83d\\ude00\\ud800\\u0000","b":"é\u2028"}', '{ "a" : [ 1 , 2 ] }', '[]', '{}',
  '{"data":{"data":1.0}}', '"text \\" \\\\"'
]

/** What subscribers receive: the text of a string, and anything else unchanged. */
const EXPECTED = RAW.map(raw => raw.startsWith('"') ? JSON.parse(raw) as string : raw)

// Regression: data was parsed and serialized again on its way: 64-bit ids lost their last digits, 1e400 became null,
// and keys changed their order.
t.test('data in JSON reaches subscribers as it was written, with every log', async t => {
  const redis = await RedisServer.start(t)
  for (const env of [
    { LOG: 'memory' }, { LOG: 'lmdb', DATA_DIR: t.testdir() }, { LOG: 'redis', REDIS_URL: redis.url }
  ]) {
    const service = await TestService.start(t, env)
    for (const raw of RAW) t.equal((await service.publish('single', `{"event":"x", "data" : ${raw} }`)).status, 201)
    t.equal((await service.publish('array', `[${RAW.map(raw => `{"data":${raw}}`).join(',\n')}]`)).status, 201)
    t.equal(
      (await service.publish('lines', RAW.map(raw => `{"data":${raw},"retry":5}\r\n`)
        .join(''), { type: NDJSON })).status,
      201
    )
    const gzip = {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      body: gzipSync(`[${RAW.map(raw => `{"data":${raw}}`).join()}]`)
    }
    t.equal((await read(await fetch(`${service.origin}/topics/gzip/events`, gzip))).status, 201)
    for (const topic of ['single', 'array', 'lines', 'gzip']) {
      t.same(await dataOf(t, service, topic), EXPECTED, `${env.LOG} ${topic}`)
    }
  }
})

t.test('JSON on several lines is one event with the same value', async t => {
  const service = await TestService.start(t)
  const value = { home: 1, away: ['x', { deep: 'line\nend' }] }
  for (const text of [JSON.stringify({ data: value }, null, 2), JSON.stringify({ data: value }, null, '\t')
    .replaceAll('\n', '\r\n'), JSON.stringify({ data: value }, null, 1).replaceAll('\n', '\r')]) {
    t.equal((await service.publish('news', text)).status, 201)
  }
  t.same((await dataOf(t, service, 'news')).map(data => JSON.parse(data) as unknown), [value, value, value])
})

t.test('the last of two values of a duplicate key is used, and a key may contain escapes', async t => {
  const service = await TestService.start(t)
  for (const body of [
    '{"data":1.0,"data":2.0}', '{"data":"x","data":3.0}', '{"data":4.0,"data":"five"}', '\ufeff{"d\\u0061ta":6.0}'
  ]) t.equal((await service.publish('news', body)).status, 201, body)
  t.same(await dataOf(t, service, 'news'), ['2.0', '3.0', 'five', '6.0'])
})

t.test('data that is nested too deeply, or would change a prototype, is an error that names the event', async t => {
  const service = await TestService.start(t)
  const nested = (depth: number): string => `{"data":${'{"a":['.repeat(depth / 2)}1${']}'.repeat(depth / 2)}}`
  t.equal((await service.publish('news', nested(1_000))).status, 201)
  const tooDeep = (name: string, depth: number): RegExp =>
    new RegExp(`^event${name}: field "data" must be nested at most 1000 levels deep, saw ${depth}$`)
  t.match(shape(await service.publish('news', nested(1_002))), refused(400, 'TOPICS_BAD_EVENT', tooDeep('', 1_002)))
  t.match(shape(await service.publish('news', nested(100_000))), refused(400, 'TOPICS_BAD_EVENT', tooDeep('', 100_000)))
  t.match(
    shape(await service.publish('news', `[{"data":1},${nested(1_002)}]`)),
    refused(400, 'TOPICS_BAD_EVENT', tooDeep(' 1', 1_002))
  )
  t.match(
    shape(await service.publish('news', `\n${nested(1_002)}`, { type: NDJSON })),
    refused(400, 'TOPICS_BAD_EVENT', tooDeep(' on line 2', 1_002))
  )
  for (const key of ['__proto__', '__pr\\u006fto__', 'constructor']) {
    const value = key === 'constructor' ? '{"prototype":1}' : '1'
    t.equal((await service.publish('news', `{"data":{"a":{"${key}":${value}}}}`)).status, 400, key)
    t.equal((await service.publish('news', `{"data":{"a":{"${key}":${value}}}}`, { type: NDJSON })).status, 400, key)
  }
  t.match(await service.counts('news'), [{ count: 1 }])
})
