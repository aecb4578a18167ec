import t from 'tap'
import type { Test } from 'tap'
import { open } from '../../support/clients/client.ts'
import type { Opened } from '../../support/clients/client.ts'
import { until } from '../../support/until.ts'
import { metricsOf } from '../../support/service/metrics.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { call } from '../../support/service/service-app.ts'
import type { Answer } from '../../support/service/service-app.ts'
import { stablePort } from '../../support/network/ports.ts'
import { ServiceProcess } from '../../support/service/service-process.ts'

// The rows of docs/faults.md as seen through HTTP: a real service, a real Redis, real sockets.

class Drill {
  readonly redis: RedisServer
  readonly service: ServiceProcess
  readonly #t: Test

  private constructor (t: Test, redis: RedisServer, service: ServiceProcess) {
    this.#t = t
    this.redis = redis
    this.service = service
  }

  static async start (t: Test, args: string[] = []): Promise<Drill> {
    const redis = await RedisServer.start(t, { port: await stablePort(), args })
    const drill = new Drill(t, redis, await ServiceProcess.start(t, { REDIS_URL: redis.url, HEARTBEAT_MS: '50' }))
    await drill.ready()
    return drill
  }

  get origin (): string { return this.service.origin }

  publish (data: string, headers: Record<string, string> = {}): Promise<Answer> {
    return call(`${this.origin}/topics/news/events`, { method: 'POST', body: { data }, headers })
  }

  /** Publishes as an application does: repeatedly, with the same key, until it is acknowledged. */
  async publishAtLast (data: string): Promise<string> {
    let answer: Answer | undefined
    await until(async () => {
      answer = await this.publish(data, { 'idempotency-key': data })
      if (answer.status !== 503) this.#t.equal(answer.status, 201)
      return answer.status === 201
    })
    return (answer!.json as { id: string }).id
  }

  /** A stream that has started; with a cursor it resumes. */
  async listen (cursor?: string): Promise<Opened> {
    const opened = await open(this.#t, `${this.origin}/events?topic=news`, {
      headers: { accept: 'text/event-stream', ...(cursor === undefined ? {} : { 'last-event-id': cursor }) }
    })
    await opened.inbox.until('stream.open')
    return opened
  }

  async ready (): Promise<void> {
    await until(async () => (await call(`${this.origin}/readyz`)).status === 200)
  }

  async notReady (): Promise<void> {
    await until(async () => (await call(`${this.origin}/readyz`)).status === 503)
  }
}

const UNAVAILABLE = { status: 503, json: { statusCode: 503, code: 'TOPICS_LOG_UNAVAILABLE' } }

/** The data of the events that a stream has received; gaps are represented by their reason. */
function shownBy ({ inbox }: Opened): string[] {
  return [...inbox.text.matchAll(/^data: (.+)$/gm)].map(([, data = '']) => /"reason":"(\w+)"/.exec(data)?.[1] ?? data)
}

/** Waits for another heartbeat, so that what follows was sent after this call. */
async function staysOpen ({ inbox }: Opened): Promise<void> {
  const before = inbox.text.length
  await inbox.until(text => (text.slice(before).match(/^:$/gm) ?? []).length > 3)
}

t.test('Redis killed with -9 and started again on its append-only file: open streams continue, and nothing is lost or repeated', async t => {
  const drill = await Drill.start(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const stream = await drill.listen()
  const first = await drill.publishAtLast('1')
  for (const data of ['2', '3']) {
    await drill.redis.kill()
    t.match(await drill.publish('never'), UNAVAILABLE)
    await drill.notReady()
    await staysOpen(stream)
    await drill.redis.start()
    await drill.publishAtLast(data)
    await stream.inbox.until(`data: ${data}\n`)
    await drill.ready()
  }
  t.same(shownBy(stream), ['1', '2', '3'])
  const back = await drill.listen(first)
  await back.inbox.until('data: 3\n')
  t.same(shownBy(back), ['2', '3'])
  t.ok((await metricsOf(drill.origin)).get('sse_redis_reconnects_total')! >= 2)
})

t.test('Redis paused: publishes get 503 after a time, streams stay, and the events sent are stored once', async t => {
  const drill = await Drill.start(t)
  const stream = await drill.listen()
  await drill.publishAtLast('1')
  drill.redis.pause()
  const [answer] = await Promise.all([drill.publish('2', { 'idempotency-key': '2' }), drill.notReady()])
  t.match(answer, UNAVAILABLE)
  await staysOpen(stream)
  drill.redis.unpause()
  await drill.publishAtLast('2')
  await drill.publishAtLast('3')
  await stream.inbox.until('data: 3\n')
  t.same(shownBy(stream), ['1', '2', '3'])
  t.ok((await metricsOf(drill.origin)).get('sse_publishes_total{outcome="unavailable"}')! >= 1)
})

t.test('FLUSHALL: open streams and clients that reconnect receive a gap "expired", and continue', async t => {
  const drill = await Drill.start(t)
  const stream = await drill.listen()
  await drill.publishAtLast('1')
  const cursor = await drill.publishAtLast('2')
  await stream.inbox.until('data: 2\n')
  await drill.redis.with(client => client.flushall())
  t.match(await drill.publishAtLast('new'), /-1$/)
  await stream.inbox.until('data: new\n')
  t.same(shownBy(stream), ['1', '2', 'expired', 'new'])
  const back = await drill.listen(cursor)
  await back.inbox.until('data: new\n')
  t.same(shownBy(back), ['expired', 'new'])
  const metrics = await metricsOf(drill.origin)
  t.same([metrics.get('sse_gaps_total{reason="expired"}'), metrics.get('sse_resumes_total{outcome="expired"}')], [1, 1])
})

t.test('memory full: publishes get 503, nothing is stored in part, streams stay, and publishes work again when there is room', async t => {
  const drill = await Drill.start(t)
  const stream = await drill.listen()
  const id = await drill.publishAtLast('1')
  const configure = (maxmemory: string) => drill.redis.with(client => client.config('SET', 'maxmemory', maxmemory))
  await configure('1')
  t.match(await drill.publish('2'), UNAVAILABLE)
  t.match((await call(`${drill.origin}/topics/news`)).json, { last: id, count: 1 })
  await staysOpen(stream)
  t.equal((await drill.listen(id)).statusCode, 200, 'clients can still connect')
  await configure('0')
  await drill.publishAtLast('3')
  await stream.inbox.until('data: 3\n')
  t.same(shownBy(stream), ['1', '3'])
})

t.test('a topic whose stream is deleted in Redis: a client that has read everything continues, any other receives a gap with the number', async t => {
  const drill = await Drill.start(t)
  const stream = await drill.listen()
  const ids: string[] = []
  for (const data of ['1', '2', '3']) ids.push(await drill.publishAtLast(data))
  await stream.inbox.until('data: 3\n')
  await drill.redis.with(client => client.del('sse:{news}:log'))
  t.match(await drill.publishAtLast('4'), /-4$/, 'its numbers continue')
  await stream.inbox.until('data: 4\n')
  t.same(shownBy(stream), ['1', '2', '3', '4'])
  const behind = await drill.listen(ids[0])
  t.match(await behind.inbox.until('data: 4\n'), /"reason":"trimmed","missed":2/)
  t.same(shownBy(behind), ['trimmed', '4'])
})
