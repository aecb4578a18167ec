import { cpSync } from 'node:fs'
import { once } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'
import { SendBuffer } from '../../../../service/cli/live/send-buffer.ts'
import { dataOf, LinePublisher, producerOf, spawnPublish } from '../../../support/service/live-publish.ts'
import { until } from '../../../support/until.ts'
import { RedisServer } from '../../../support/redis/redis-server.ts'
import { TestService } from '../../../support/service/service-app.ts'
import { ServiceProcess } from '../../../support/service/service-process.ts'
import { TcpProxy } from '../../../support/network/tcp-proxy.ts'
import { CommandCall } from '../../../support/processes/terminal.ts'

// `resumable-sse publish --live` while services are killed and networks are cut: every line once, in its order.

const portOf = ({ origin }: TestService): number => Number(new URL(origin).port)

async function startBehindProxy (t: Test): Promise<{ service: TestService, proxy: TcpProxy, origin: string }> {
  const service = await TestService.start(t)
  const proxy = await TcpProxy.start(t, portOf(service))
  return { service, proxy, origin: `http://127.0.0.1:${proxy.port}` }
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, at) => `line ${at}`)

t.test('lines arrive once each while the service is killed with kill -9 and started again, on LMDB', async t => {
  const service = await ServiceProcess.start(t, { DURABILITY: 'process' })
  const child = spawnPublish(t, service.origin, 'build')
  const lines = numbers(1_000)
  for (let at = 0; at < lines.length; at++) {
    if (at % 10 === 0 && !child.stdin.write(lines.slice(at, at + 10).join('\n') + '\n')) {
      await once(child.stdin, 'drain')
    }
    if (at % 500 === 250) {
      const accepted = Number((await producerOf(service.origin, 'build'))?.accepted ?? 0)
      await until(
        async () => Number((await producerOf(service.origin, 'build'))?.accepted ?? 0) > accepted || accepted === at
      )
      await service.kill()
      await service.start()
    }
  }
  child.stdin.end()
  t.equal((await once(child, 'close'))[0], 0)
  t.same(await dataOf(service.origin, 'build'), lines)
  t.match(await producerOf(service.origin, 'build'), { state: 'done', accepted: lines.length })
})

t.test('on Redis another instance continues where the killed one stopped', async t => {
  const redis = await RedisServer.start(t)
  const instances = await Promise.all([1, 2].map(() => ServiceProcess.start(t, { REDIS_URL: redis.url })))
  const proxy = await TcpProxy.start(t, instances[0]!.port)
  const call = new CommandCall(['publish', '--live', 'build', '--url', `http://127.0.0.1:${proxy.port}`])
  const lines = numbers(300)
  for (const [at, line] of lines.entries()) {
    call.stdin.write(`${line}\n`)
    if (at % 100 !== 50) continue
    await until(async () => Number((await producerOf(instances[1]!.origin, 'build'))?.accepted) >= at / 2)
    const next = instances[at % 200 === 50 ? 1 : 0]!
    await instances[at % 200 === 50 ? 0 : 1]!.kill()
    await instances[at % 200 === 50 ? 0 : 1]!.start()
    proxy.lead(next.port)
  }
  call.stdin.end()
  t.match(await call.result(), { code: 0, err: /build is done: 300 events\n$/ })
  t.same(await dataOf(instances[0]!.origin, 'build'), lines)
})

t.test('lines written while the service is unavailable are published afterwards, and this is reported', async t => {
  const { service, proxy, origin } = await startBehindProxy(t)
  const call = new CommandCall(['publish', '--live', 'build', '--url', origin])
  call.stdin.write('one\n')
  await until(async () => (await dataOf(service.origin, 'build')).length === 1)
  for (let times = 1; times <= 2; times++) {
    proxy.down()
    call.stdin.write('more\n')
    await call.err.until(text => text.split('waiting up to 60 s\n').length > times)
    proxy.up()
    await call.err.until(text => text.split('the service is available again, publishing continues\n').length > times)
  }
  call.stdin.end('last\n')
  t.match(await call.result(), { code: 0, err: /build is done: 4 events\n$/ })
  t.same(await dataOf(service.origin, 'build'), ['one', 'more', 'more', 'last'])
})

t.test('a service that shuts down hands the producer over to another one', async t => {
  const redis = await RedisServer.start(t)
  const start = (): Promise<TestService> => TestService.start(t, { LOG: 'redis', REDIS_URL: redis.url })
  const first = await start()
  const second = await start()
  const proxy = await TcpProxy.start(t, portOf(first))
  const publisher = new LinePublisher(t, `http://127.0.0.1:${proxy.port}`, { limits: { pollMs: 10 } })
  await publisher.write('one')
  await until(() => publisher.publisher.accepted === 1)
  const closed = first.app.close()
  await publisher.told.until('503 SERVICE_DRAINING')
  proxy.lead(portOf(second))
  await publisher.write('two')
  publisher.end()
  t.equal(await publisher.ended, true)
  await closed
  t.same(await dataOf(second.origin, 'build'), ['one', 'two'])
})

t.test('a network that is silently cut is detected, and nothing is lost or repeated', async t => {
  const { service, proxy, origin } = await startBehindProxy(t)
  const limits = { pollMs: 10, stallMs: 200, keepAliveMs: 20 }
  const publisher = new LinePublisher(t, origin, { limits })
  await publisher.write('one')
  await until(async () => (await dataOf(service.origin, 'build')).length === 1)
  proxy.silence()
  await publisher.write('two', 'three')
  await publisher.told.until('no line has reached the log for 0.2 s')
  proxy.lead(portOf(service))
  proxy.unsilence()
  publisher.end()
  t.equal(await publisher.ended, true)
  t.same(await dataOf(service.origin, 'build'), ['one', 'two', 'three'])
})

t.test('if only the last response is lost, the topic is looked up, and the command succeeds', async t => {
  const { service, proxy, origin } = await startBehindProxy(t)
  const publisher = new LinePublisher(t, origin, { limits: { pollMs: 10, stallMs: 200 } })
  await publisher.write('one')
  await until(async () => (await dataOf(service.origin, 'build')).length === 1)
  proxy.deafen('POST')
  publisher.end()
  t.equal(await publisher.ended, true)
  t.match(publisher.told.text, /no line has reached the log/)
  t.match(await producerOf(service.origin, 'build'), { state: 'done', accepted: 1 })
})

t.test('a service that is unavailable for longer than --wait ends the command with the number of events in the log', async t => {
  const { proxy, origin } = await startBehindProxy(t)
  const publisher = new LinePublisher(t, origin, { waitMs: 100, limits: { pollMs: 10 } })
  await publisher.write('one')
  await until(() => publisher.publisher.accepted === 1)
  proxy.down()
  await publisher.write('two', 'three')
  await t.rejects(publisher.ended, { message: /gave up after 0.1 s: the log has 1 of 3 events/ })
})

t.test('a topic that was closed as lost meanwhile is an error that says so', async t => {
  const { service, proxy, origin } = await startBehindProxy(t)
  const publisher = new LinePublisher(t, origin, { leaseMs: 2_000, limits: { pollMs: 10 } })
  await publisher.write('one')
  await until(() => publisher.publisher.accepted === 1)
  proxy.down()
  await until(async () => (await producerOf(service.origin, 'build'))?.state === 'lost')
  proxy.up()
  await t.rejects(publisher.ended, { message: 'the topic was closed as "lost" meanwhile: the log has 1 of 1 events' })
})

t.test('a log that lost acknowledged events receives them again while they are in memory, otherwise it is an error', async t => {
  const folder = t.testdir({ data: {} })
  const start = (name: string): Promise<TestService> =>
    TestService.start(t, { LOG: 'lmdb', DATA_DIR: `${folder}/${name}` })
  const first = await start('data')
  const proxy = await TcpProxy.start(t, portOf(first))
  const publisherOf = (topic: string, limits = {}): LinePublisher =>
    new LinePublisher(t, `http://127.0.0.1:${proxy.port}`, { topic, limits: { pollMs: 10, ...limits } })
  const roomy = publisherOf('roomy')
  const tight = publisherOf('tight', { bufferBytes: 1_000 })
  const areAccepted = (count: number): boolean =>
    roomy.publisher.accepted === count && tight.publisher.accepted === count
  const big = 'x'.repeat(600)
  for (const publisher of [roomy, tight]) await publisher.write(`1${big}`)
  await until(() => areAccepted(1))
  proxy.down()
  await first.app.close()
  cpSync(`${folder}/data`, `${folder}/copy`, { recursive: true, filter: source => !source.endsWith('.sock') })
  const second = await start('data')
  proxy.lead(portOf(second))
  proxy.up()
  for (const publisher of [roomy, tight]) for (const line of [2, 3]) await publisher.write(`${line}${big}`)
  await until(() => areAccepted(3))
  proxy.down()
  const third = await start('copy')
  proxy.lead(portOf(third))
  proxy.up()
  await t.rejects(tight.ended, { message: 'the log has lost events that it had acknowledged: it has only 1' })
  roomy.end()
  t.equal(await roomy.ended, true)
  t.same((await dataOf(third.origin, 'roomy')).map(data => data[0]), ['1', '2', '3'])
})

t.test('a log that was lost is filled again from the start', async t => {
  const { proxy, origin } = await startBehindProxy(t)
  const publisher = new LinePublisher(t, origin, { limits: { pollMs: 10 } })
  await publisher.write('one', 'two')
  await until(() => publisher.publisher.accepted === 2)
  const other = await TestService.start(t)
  proxy.lead(portOf(other))
  await publisher.write('three')
  publisher.end()
  t.equal(await publisher.ended, true)
  t.same(await dataOf(other.origin, 'build'), ['one', 'two', 'three'])
})

t.test('while the service hangs, stdin is paused once the buffer is full', async t => {
  const service = await ServiceProcess.start(t, { DURABILITY: 'process' })
  const publisher = new LinePublisher(t, service.origin, { limits: { pollMs: 10, busyPollMs: 1, bufferBytes: 10_000 } })
  await publisher.write('0')
  await until(() => publisher.publisher.accepted === 1)
  service.command.kill('SIGSTOP')
  let written = 1
  const writing = (async () => {
    for (; written < 300; written++) await publisher.write(`${written} ${'x'.repeat(100)}`)
  })()
  const wasHeldBack = await Promise.race([writing.then(() => false), until(() => written > 50).then(() => true)])
  t.ok(wasHeldBack)
  service.command.kill('SIGCONT')
  await writing
  publisher.end()
  t.equal(await publisher.ended, true)
  t.same(
    (await dataOf(service.origin, 'build')).map(data => Number(data.split(' ')[0])),
    numbers(300).map((_, at) => at)
  )
})

t.test('a signal while the service is unavailable ends the command within its time limit', async t => {
  const { service, proxy, origin } = await startBehindProxy(t)
  const publisher = new LinePublisher(t, origin, { limits: { pollMs: 10, readOnMs: 1, leaveMs: 1 } })
  await publisher.write('one')
  await until(() => publisher.publisher.accepted === 1)
  proxy.down()
  await publisher.write('two')
  await publisher.told.until('waiting up to')
  publisher.stop()
  t.equal(await publisher.ended, false)
  t.equal(await publisher.client.stop(), false)
  t.match(await producerOf(service.origin, 'build'), { state: 'live' })
})

t.test('an empty line is sent when there is nothing else, and is not an event', async t => {
  const service = await TestService.start(t)
  const publisher = new LinePublisher(t, service.origin, { limits: { keepAliveMs: 1 } })
  await publisher.write('one')
  await until(async () => (await dataOf(service.origin, 'build')).length === 1)
  await publisher.write('two')
  publisher.end()
  t.equal(await publisher.ended, true)
  t.same(await dataOf(service.origin, 'build'), ['one', 'two'])
})

t.test('the buffer keeps what the log may be missing, and as much of the rest as fits', t => {
  const buffer = new SendBuffer(10_000)
  const event = (number: number) => ({ number, json: 'x'.repeat(36) })
  buffer.add(Array.from({ length: 3_000 }, (_, at) => event(at + 1)))
  t.match(buffer, { first: 0, accepted: 0, next: 3_000, isFull: true, isClear: false })
  buffer.accept(2_950)
  t.match(buffer, { first: 2_900, accepted: 2_950, next: 3_000, isFull: false, isHalfFull: true })
  t.equal(buffer.at(2_900).number, 2_901)
  t.equal(buffer.linesFrom(2_950, 1).next, 2_951)
  buffer.accept(Infinity)
  t.match(buffer, { accepted: 3_000, isClear: true, isHalfFull: false })
  buffer.accept(2_900)
  t.match(buffer, { first: 2_900, accepted: 2_900, isClear: false, isFull: true })
  t.same(buffer.linesFrom(3_000, 100), { lines: '', next: 3_000 })
  t.end()
})
