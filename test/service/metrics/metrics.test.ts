import { AggregatorRegistry } from 'prom-client'
import t from 'tap'
import { connect, get, open, stall } from '../../support/clients/client.ts'
import { until } from '../../support/until.ts'
import { tableRows } from '../../support/documents/markdown.ts'
import { metricsOf } from '../../support/service/metrics.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { TestService } from '../../support/service/service-app.ts'

t.test('events sent to streams are counted while the streams are open, and stay counted when they have ended', async t => {
  const service = await TestService.start(t)
  const streams = await Promise.all([1, 2].map(() => open(t, `${service.origin}/events?topic=news`)))
  await Promise.all(streams.map(({ inbox }) => inbox.until('stream.open')))
  await service.publish('news', [{ data: '1' }, { data: '2' }, { data: '3' }])
  await Promise.all(streams.map(({ inbox }) => inbox.until('data: 3\n\n')))
  const during = await metricsOf(service.origin)
  const bytes = streams.reduce((sum, { inbox }) => sum + inbox.bytes, 0)
  t.same([
    'streams_open', 'streams_opened_total', 'events_delivered_total', 'bytes_sent_total', 'topics_followed', 'feeds'
  ].map(name => during.get(`sse_${name}`)), [2, 2, 6, bytes, 1, 1])
  t.equal(during.get('sse_publish_to_write_seconds_count'), 1, 'once for the batch, whatever the number of clients')
  streams[0]!.close()
  await until(async () => (await metricsOf(service.origin)).get('sse_streams_open') === 1)
  await service.call('/topics/news/close', { method: 'POST' })
  await streams[1]!.inbox.ended()
  const after = await metricsOf(service.origin)
  t.same(['client', 'end', 'slow', 'shutdown', 'error'].map(
    reason => after.get(`sse_streams_closed_total{reason="${reason}"}`)
  ), [1, 1, 0, 0, 0])
  t.same([after.get('sse_streams_open'), after.get('sse_events_delivered_total')], [0, 6])
  t.ok(after.get('sse_bytes_sent_total')! > bytes, 'the end is counted in bytes')
})

t.test('publishes are counted by outcome, and events as they are stored in the log', async t => {
  const service = await TestService.start(t)
  const headers = { 'idempotency-key': 'k' }
  await service.publish('news', [{ data: 1 }, { data: 2 }], { headers })
  await service.publish('news', [{ data: 1 }, { data: 2 }], { headers })
  await service.publish('news', { data: 3 })
  await service.publish('news', {})
  await service.publish('*', { data: 1 })
  await service.publish('news', '<', { type: 'text/html' })
  await service.call('/topics/news/events')
  await service.call('/topics/news')
  const { publish } = service.app.topics
  service.app.topics.publish = async () => { throw Object.assign(new Error('too many'), { statusCode: 429 }) }
  await service.publish('news', { data: 1 })
  service.app.topics.publish = async () => { throw Object.assign(new Error('away'), { statusCode: 503 }) }
  await service.publish('news', { data: 1 })
  service.app.topics.publish = async () => { throw new Error('a bug') }
  await service.publish('news', { data: 1 })
  const metrics = await metricsOf(service.origin)
  t.same(['acknowledged', 'repeated', 'refused', 'limited', 'unavailable', 'failed'].map(
    outcome => metrics.get(`sse_publishes_total{outcome="${outcome}"}`)
  ), [2, 1, 3, 1, 1, 1])
  t.equal(metrics.get('sse_events_published_total'), 3)
  t.equal(metrics.get('sse_log_call_seconds_count{call="append"}'), 3)
  await service.call('/topics/news/close', { method: 'POST' })
  service.app.topics.publish = publish
  t.equal((await service.publish('news', { data: 1 })).status, 409)
  const failures = (await metricsOf(service.origin)).get('sse_log_failures_total{call="append"}')
  t.equal(failures, 0, 'a publish that is wrong is no failure of the log')
})

t.test('resumes, gaps and calls to the log are counted', async t => {
  const service = await TestService.start(t, { MAX_EVENTS: '1' })
  const { ids } = (await service.publish('news', [{ data: '1' }, { data: '2' }, { data: '3' }])).json as {
    ids: string[]
  }
  for (const cursor of [ids[0], ids[1], ids[2], '$']) {
    const { inbox } = await open(t, `${service.origin}/events?topic=news&lastEventId=${cursor}`)
    await inbox.until('stream.open')
  }
  const metrics = await metricsOf(service.origin)
  t.same(['exact', 'empty', 'trimmed', 'fork', 'unknown', 'expired'].map(
    outcome => metrics.get(`sse_resumes_total{outcome="${outcome}"}`)
  ), [1, 1, 1, 0, 1, 0])
  t.same(['read', 'locate', 'follow', 'seek', 'close'].map(
    call => (metrics.get(`sse_log_call_seconds_count{call="${call}"}`) ?? -1) > 0
  ), [true, true, true, false, false])
  t.equal(metrics.get('sse_log_failures_total{call="read"}'), 0)
})

t.test('a client that does not read is a reader that lags', async t => {
  const service = await TestService.start(t, { MAX_EVENTS: '5' })
  const { socket } = await stall(t, service.origin, '/events?topic=news')
  const lagging = async (): Promise<number | undefined> => (await metricsOf(service.origin)).get('sse_readers_lagging')
  const text = 'x'.repeat(250_000)
  do await service.publish('news', text, { type: 'text/plain' })
  while (await lagging() === 0)
  t.ok((await metricsOf(service.origin)).get('sse_tail_bytes')! > 0, 'events that it has not received are kept')
  socket.destroy()
  await until(async () => await lagging() === 0)
})

t.test('two services in one process have separate metrics', async t => {
  const [one, other] = [await TestService.start(t), await TestService.start(t)]
  await one.publish('news', { data: 1 })
  t.equal((await metricsOf(one.origin)).get('sse_events_published_total'), 1)
  t.equal((await metricsOf(other.origin)).get('sse_events_published_total'), 0)
})

t.test('every metric is documented with its type and labels, and no other; none has a topic as a label', async t => {
  const redis = await RedisServer.start(t)
  const service = await TestService.start(t, { LOG: 'redis', REDIS_URL: redis.url })
  await service.publish('news', { data: 1 })
  const { text, headers } = await service.call('/metrics')
  t.match(headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
  const isOfProcess = (name: string): boolean => /^sse_(process|nodejs)_/.test(name)
  const all = await service.app.metrics.getMetricsAsJSON()
  const ours = all.filter(({ name }) => !isOfProcess(name))
  t.ok(all.length > ours.length && all.every(({ name }) => name.startsWith('sse_')))
  const shown = ours.map(({ name, type, values }) => {
    const labels = new Set(values.flatMap(({ labels }) => Object.keys(labels)).filter(label => label !== 'le'))
    return [labels.size > 0 ? `${name}{${[...labels].join()}}` : name, String(type)]
  })
  t.same(tableRows('docs/operations.md', 'Metric').map(([name, type]) => [name, type]).sort(), shown.sort())
  const meanings = new Map(tableRows('docs/operations.md', 'Metric').map(([name, , meaning]) => [
    name!.replace(/\{.*/, ''), meaning!.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
  ]))
  for (const { name, help } of ours) {
    t.ok(
      meanings.get(name)!.startsWith(help),
      `the help of ${name} is the start of its description in the document: ${help}`
    )
  }
  t.notMatch(text, 'news')
  for (const name of [
    'sse_nodejs_eventloop_lag_p99_seconds', 'sse_process_resident_memory_bytes', 'sse_process_open_fds'
  ]) t.match(text, new RegExp(`^${name} `, 'm'))
})

t.test('without Redis the metrics contain nothing about Redis', async t => {
  const service = await TestService.start(t)
  t.notMatch((await service.call('/metrics')).text, /redis|canary/)
})

t.test('lost connections to Redis are counted, and the age of its probe is reported', async t => {
  const redis = await RedisServer.start(t)
  const service = await TestService.start(t, { LOG: 'redis', REDIS_URL: redis.url, CANARY_MS: '50' })
  const metric = async (name: string): Promise<number> => (await metricsOf(service.origin)).get(`sse_${name}`) ?? NaN
  await until(async () => await metric('redis_healthy') === 1)
  t.ok(await metric('canary_age_seconds') < 5)
  await redis.with(client => client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'))
  await redis.with(client => client.call('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes'))
  await until(async () => await metric('redis_reconnects_total') >= 2)
  await until(async () => await metric('redis_healthy') === 1)
})

t.test('metrics can be read over HTTP/1.0 and with HEAD', async t => {
  const service = await TestService.start(t)
  const { send, inbox } = await connect(t, service.origin)
  send(get('/metrics', { version: '1.0' }))
  t.match(await inbox.ended(), /\nsse_streams_open 0\n/)
})

// Regression: the average of four workers, of which one was blocked, stayed below the threshold of the alert.
t.test('of several workers, the one with the slowest event loop is reported', async t => {
  const { app: { metrics } } = await TestService.start(t)
  const workers = await Promise.all([0.01, 0.5, 0.02].map(async lag => {
    const all = await metrics.getMetricsAsJSON()
    const loop = all.filter(({ name }) => name.startsWith('sse_nodejs_eventloop_lag'))
    return loop.map(metric => ({ ...metric, values: [{ value: lag, labels: {} }] }))
  }))
  const total = await AggregatorRegistry.aggregate(workers).metrics()
  const values = [...total.matchAll(/^sse_nodejs_eventloop_lag\S* (\S+)$/gm)].map(([, value]) => Number(value))
  t.same([...new Set(values)], [0.5])
  t.match(total, /^sse_nodejs_eventloop_lag_p99_seconds 0.5$/m)
})
