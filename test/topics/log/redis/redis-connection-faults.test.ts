import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { RedisTokenStore } from '../../../../plugin/auth/one-time/redis-token-store.ts'
import sse from '../../../../plugin/index.ts'
import { injectSse } from '../../../../plugin/testing/index.ts'
import topics from '../../../../plugin/topics/index.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import type { RedisLogOptions } from '../../../../plugin/topics/log/redis/index.ts'
import { Inbox } from '../../../support/clients/inbox.ts'
import { linesWith, logInto } from '../../../support/log.ts'
import { newEvents, readAll, Recorder } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { readDoc } from '../../../support/documents/markdown.ts'
import { stablePort } from '../../../support/network/ports.ts'
import { MASTER_NAME, SentinelGroup } from '../../../support/redis/redis-sentinel.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'
import { TcpProxy } from '../../../support/network/tcp-proxy.ts'
import { buildTopicsApp } from '../../../support/apps/topics-app.ts'

// The titles start like the rows of docs/faults.md.

const UNAVAILABLE = { code: 'TOPICS_LOG_UNAVAILABLE', statusCode: 503 }

interface Lines {
  lines: string[]
  info: (details: object, message: string) => void
  warn: (details: object, message: string) => void
  error: (details: object, message: string) => void
}

function recordLines (): Lines {
  const lines: string[] = []
  const add = (level: string) =>
    (details: object, message: string): void => { lines.push(`${level} ${message} ${JSON.stringify(details)}`) }
  return { lines, info: add('info'), warn: add('warn'), error: add('error') }
}

async function startLog (
  t: Test,
  options: RedisLogOptions,
  logger: Lines = recordLines()
): Promise<{ log: RedisLog, lines: string[] }> {
  const log = new RedisLog(options)
  t.teardown(() => log.stop())
  await log.start(logger)
  return { log, lines: logger.lines }
}

/** The number of commands with this name that a server has received so far, including rejected ones. */
async function callsOf (server: RedisServer, command: string): Promise<number> {
  const info = await server.with(client => client.info('commandstats'))
  const [, calls = 0, rejected = 0] = new RegExp(`cmdstat_${command}:calls=(\\d+),.*rejected_calls=(\\d+)`).exec(
    info
  ) ?? []
  return Number(calls) + Number(rejected)
}

// Regression: 176 connections in 10 s, for as long as the process ran, and not one line in its log: a rejected
// SUBSCRIBE was treated as a lost connection.
t.test('No permission for the channels: the log reports it once, waits on its existing connections, and works when the permission is granted', async t => {
  const server = await RedisServer.start(t)
  const acl = (...rules: string[]) =>
    server.with(client => client.call('ACL', 'SETUSER', 'app', 'on', '>secret', ...rules))
  await acl('~sse:*', '+@all', 'resetchannels')
  const logger = recordLines()
  const connection = { host: '127.0.0.1', port: server.port, username: 'app', password: 'secret' }
  const { log } = await startLog(t, { connection, canaryMs: 50 }, logger)
  const store = new RedisTokenStore({ connection })
  t.teardown(() => store.stop())
  await store.start(() => {}, logger)
  t.match(log.health, { isHealthy: false, problem: /NOPERM/ })
  const received = async (): Promise<string | undefined> =>
    /total_connections_received:(\d+)/.exec(await server.with(client => client.info('stats')))?.[1]
  const [before, asked] = [Number(await received()), await callsOf(server, 'subscribe')]
  await until(async () => await callsOf(server, 'subscribe') >= asked + 4)
  const polls = await callsOf(server, 'info')
  t.ok(Number(await received()) - before <= polls, 'only the connections that called here')
  await t.rejects(log.follow('a', new Recorder()), { ...UNAVAILABLE, message: /NOPERM/ })
  await acl('&sse:*')
  await until(() => log.isHealthy)
  await until(() => logger.lines.some(line => line.includes('all connections work again')))
  t.same(logger.lines.map(line => line.split(' ')[0]), ['warn', 'info'], 'one line when it started, one when it ended')
  t.match(logger.lines[0], /NOPERM/)
})

// Regression: XADD came before PUBLISH: a publish that was rejected with 503 was in the stream, and repeating it was
// treated as a repetition.
t.test('A permission is missing: a rejected operation was not performed, whatever the permission is', async t => {
  const server = await RedisServer.start(t)
  const acl = (...rules: string[]) => server.with(
    client => client.call('ACL', 'SETUSER', 'app', 'reset', 'on', '>secret', '~sse:*', '&sse:*', '+@all', ...rules)
  )
  await acl()
  const { log } = await startLog(t, {
    connection: { host: '127.0.0.1', port: server.port, username: 'app', password: 'secret' },
    retention: [{ topics: '*', maxAgeMs: 600_000 }]
  })
  await until(() => log.isHealthy)
  const kept = async (topic: string): Promise<unknown> => server.with(async client => [
    await client.exists(`sse:{${topic}}:key:k`),
    await client.xlen(`sse:{${topic}}:log`),
    await client.hget(`sse:{${topic}}:meta`, 'closed')
  ])
  const rights = [
    'publish', 'xadd', 'xtrim', 'hset', 'hdel', 'pexpire', 'persist', 'set', 'get', 'hmget', 'info', 'time', 'evalsha',
    'eval'
  ]
  for (const right of rights) {
    await acl(`-${right}`)
    // EVALSHA is sufficient for a script that Redis has; a new server also needs EVAL.
    if (right === 'eval') await server.with(client => client.script('FLUSH'))
    await t.rejects(log.append(right, newEvents(3), { idempotencyKey: 'k' }), {
      ...UNAVAILABLE, message: /NOPERM|permission|can't run/i
    }, right)
    t.same(await kept(right), [0, 0, null], `nothing of it is stored without ${right}`)
    await acl()
    t.match(
      await log.append(right, newEvents(3), { idempotencyKey: 'k' }),
      { isRepeat: false },
      `${right}: the second attempt is the first that counts`
    )
  }
  for (const right of ['publish', 'pexpire', 'persist', 'hset']) {
    await acl(`-${right}`)
    await t.rejects(log.close('info'), UNAVAILABLE)
    t.same(await kept('info'), [1, 3, null], `not closed without ${right}`)
  }
  for (const right of ['publish', 'hdel', 'del']) {
    await acl(`-${right}`)
    await t.rejects(log.delete('info'), UNAVAILABLE)
    t.same(await kept('info'), [1, 3, null], `not deleted without ${right}`)
  }
})

t.test('the user of docs/redis.md has all permissions that are needed', async t => {
  const server = await RedisServer.start(t)
  const [rule = ''] = /^ACL SETUSER .*$/m.exec(readDoc('docs/redis.md')) ?? []
  const [, ...args] = rule.split(' ')
  await server.with(client => client.call('ACL', args))
  const connection = { host: '127.0.0.1', port: server.port, username: 'app', password: 'password' }
  const { log, lines } = await startLog(t, { connection, replicas: 0, retention: [{ topics: '*', maxAgeMs: 60_000 }] })
  const recorder = new Recorder()
  await log.follow('a', recorder)
  await log.append('a', newEvents(2), { idempotencyKey: 'k' })
  t.equal((await log.append('a', newEvents(2), { idempotencyKey: 'k' })).isRepeat, true)
  t.equal((await readAll(log, 'a')).length, 2)
  await log.seek('a', { last: 1 })
  await until(() => recorder.entries.length === 2)
  await log.close('a')
  await log.delete('a')
  await log.unfollow('a', recorder)
  await until(() => log.isHealthy)
  const store = new RedisTokenStore({ connection })
  t.teardown(() => store.stop())
  await store.start(() => {}, silentLogger)
  await store.revokeSubject('ann', 1_000)
  t.ok((await store.revokedSubjects()).has('ann'))
  await store.touch(['x'], { slidingMs: 1, absoluteMs: 1, graceMs: 1 })
  await store.revokeSession('x')
  t.same(lines, [])
})

// Regression: ioredis reports a failed SELECT and continues in database 0: /16 of 16 databases was "ready", and events
// were written to database 0.
t.test('Database rejected: the log is unavailable and reports why, and nothing reaches another database', async t => {
  const server = await RedisServer.start(t)
  await server.with(client => client.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-select'))
  const places: [string, RedisLogOptions['connection'], RegExp][] = [
    ['beyond the last', `${server.url}/16`, /DB index is out of range/],
    ['far beyond', { host: '127.0.0.1', port: server.port, db: 99 }, /DB index is out of range/],
    ['without the right to SELECT', `redis://app:secret@127.0.0.1:${server.port}/3`, /NOPERM/]
  ]
  for (const [name, connection, reason] of places) {
    const { log, lines } = await startLog(t, { connection, canaryMs: 50 })
    await until(() => reason.test(log.health.problem ?? ''))
    await t.rejects(log.append('a', newEvents(1)), { ...UNAVAILABLE, message: reason }, name)
    await t.rejects(log.follow('a', new Recorder()), UNAVAILABLE)
    t.equal(log.isHealthy, false)
    t.equal(lines.length, 1, 'one line')
    const store = new RedisTokenStore({ connection })
    t.teardown(() => store.stop())
    await store.start(() => {}, silentLogger)
    await t.rejects(store.revokeSubject('ann', 1_000), { code: 'FST_SSE_STORE_UNAVAILABLE', message: reason })
  }
  t.equal(await server.with(client => client.dbsize()), 0)
  const { log } = await startLog(t, { connection: `redis://app:secret@127.0.0.1:${server.port}/3`, canaryMs: 50 })
  await server.with(client => client.call('ACL', 'SETUSER', 'app', '+select'))
  await until(() => log.isHealthy)
  await log.append('a', newEvents(1))
  t.equal(await server.with(async client => { await client.select(3); return client.exists('sse:{a}:log') }), 1)
})

// Regression: "There is no connection to Redis: is it running, and is its URL right?" was the whole message for a wrong
// password.
t.test('Password, name, port or certificate wrong: the reason is in the error and in the health', async t => {
  const server = await RedisServer.start(t)
  await server.with(client => client.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all'))
  const closed = await stablePort()
  const places: [RedisLogOptions['connection'], RegExp][] = [
    [`redis://app:wrong@127.0.0.1:${server.port}`, /WRONGPASS/],
    [`redis://127.0.0.1:${closed}`, new RegExp(`no connection to Redis at 127.0.0.1:${closed}: .*ECONNREFUSED`)],
    [
      'redis://no-such-host.invalid:6379',
      /no connection to Redis at no-such-host\.invalid:6379: .*(ENOTFOUND|EAI_AGAIN)/
    ],
    [{ path: '/no/such/socket' }, /ENOENT/],
    [{ cluster: [{ host: '127.0.0.1', port: closed }] }, /the cluster 127\.0\.0\.1:\d+: /]
  ]
  for (const [connection, reason] of places) {
    const { log, lines } = await startLog(t, { connection, canaryMs: 50 })
    await until(() => log.health.problem !== undefined)
    await t.rejects(log.append('a', newEvents(1)), { ...UNAVAILABLE, message: reason })
    t.notMatch(lines.join('\n'), /secret|wrong/)
    t.equal(lines.length, 1)
    await log.stop()
  }
  await server.with(client => client.config('SET', 'requirepass', 'hidden'))
  const { log } = await startLog(t, { connection: server.url, canaryMs: 50 })
  await t.rejects(log.append('a', newEvents(1)), { ...UNAVAILABLE, message: /NOAUTH/ })
})

// Regression: Fastify gives a plugin 10 s. Sentinels were retried indefinitely, and a frozen server was waited for as
// long as commandTimeoutMs.
t.test('Sentinels unavailable or Redis frozen at the start: the application still starts, and works when they are available', async t => {
  const frozen = await RedisServer.start(t)
  frozen.pause()
  const silent = await TcpProxy.start(t, frozen.port)
  silent.silence()
  const group = await SentinelGroup.start(t)
  const sentinels = [...group.sentinels]
  const away = [{ host: '127.0.0.1', port: await stablePort() }]
  const asleep = [{ host: '127.0.0.1', port: silent.port }]
  const places: [string, RedisLogOptions['connection'], RegExp][] = [
    ['Redis frozen', frozen.url, /no reply/],
    ['Sentinels away', { sentinels: away, name: MASTER_NAME }, /sentinels are unreachable/],
    ['Sentinels frozen', { sentinels: asleep, name: MASTER_NAME }, /no reply/],
    ['a Sentinel password that is not asked for', {
      sentinels, name: MASTER_NAME, sentinelPassword: 'wrong', sentinelUsername: 'nobody'
    }, /WRONGPASS/],
    ['a master that the Sentinels do not know', { sentinels, name: 'another' }, /sentinels are unreachable/],
    ['a cluster frozen', { cluster: [{ host: '127.0.0.1', port: frozen.port }] }, /./]
  ]
  await Promise.all(places.map(async ([name, connection, reason]) => {
    const log = new RedisLog({ connection, commandTimeoutMs: 600_000, canaryMs: 50 })
    const app = await buildTopicsApp(t, { log })
    await app.ready()
    await until(() => reason.test(log.health.problem ?? ''))
    await t.rejects(app.topics.publish('a', { data: 'x' }), UNAVAILABLE, name)
  }))
  const logs = await Promise.all([frozen.url, { sentinels: asleep, name: MASTER_NAME }].map(
    async connection => (await startLog(t, { connection, canaryMs: 50, commandTimeoutMs: 3_000 })).log
  ))
  t.same(logs.map(log => log.isHealthy), [false, false])
  silent.lead(sentinels[0]!.port)
  silent.unsilence()
  frozen.unpause()
  for (const log of logs) {
    await until(() => log.isHealthy)
    await log.append('a', newEvents(1))
  }
})

// The kernel closes a silent connection after about 15 minutes; until then each command timed out, and the probe, which
// was sent over it, blamed the healthy message connection.
t.test('Command connection silent: it is replaced, and the message connection is not affected', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const { log, lines } = await startLog(t, { connection: proxy.url, canaryMs: 100, commandTimeoutMs: 60_000 })
  const other = (await startLog(t, { connection: server.url })).log
  const recorder = new Recorder()
  await log.follow('a', recorder)
  await until(() => log.isHealthy)
  await log.append('a', newEvents(1, 'before '))
  proxy.deafen('evalsha')
  await other.append('a', newEvents(1, 'heard '))
  await until(() => recorder.entries.some(({ data }) => data === 'heard 1'))
  await until(() => lines.length > 0)
  await until(() => log.isHealthy)
  t.match(log.health, { replaced: 0 }, 'the message connection was not replaced')
  t.equal(recorder.resyncs, 0)
  await log.append('a', newEvents(1, 'after '))
  t.match(lines[0], /command connection is silent; replacing it/)
})

t.test('Command connection silent: it is also replaced while publishes continue, and each error says that the publish may have been stored', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const { log } = await startLog(t, { connection: proxy.url, commandTimeoutMs: 5_000 })
  for (let count = 0; count < 2; count++) await log.append('a', newEvents(1))
  proxy.deafen('evalsha')
  const answers: (Error & { mayBeDone?: boolean })[] = []
  const timer = setInterval(() => { log.append('a', newEvents(1)).catch((error: Error) => answers.push(error)) }, 50)
  t.teardown(() => clearInterval(timer))
  await until(() => answers.some(({ message }) => /connection to Redis .* was lost/.test(message)))
  await until(() => log.append('a', newEvents(1)).then(() => true, () => false))
  clearInterval(timer)
  t.ok(answers.every(({ message, mayBeDone }) => mayBeDone === !/there is no connection/.test(message)))
})

// Regression: a connection was replaced after 4 s without an answer, whatever the time limit of its commands: a publish
// of 100,000 events failed on a slow machine.
t.test('Command slow: its connection is kept for as long as the command may take, and one without a command is not', async t => {
  const server = await RedisServer.start(t)
  const { log } = await startLog(t, { connection: server.url, canaryMs: 100, commandTimeoutMs: 60_000 })
  const { log: idle } = await startLog(t, { connection: server.url, canaryMs: 100, commandTimeoutMs: 2_500 })
  await until(() => log.isHealthy && idle.isHealthy)
  server.pause()
  const answer = log.append('a', newEvents(3))
  await until(() => /silent/.test(idle.health.problem ?? ''))
  // And again as long, so that the other connection would have been replaced, too.
  await until(() => /timed out/i.test(idle.health.problem ?? ''))
  server.unpause()
  t.match(await answer, { isRepeat: false })
  t.equal((await readAll(log, 'a')).length, 3)
  await until(() => log.isHealthy && idle.isHealthy)
})

t.test('Message connection silent: it is replaced, and missed messages are read from the log', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const { log, lines } = await startLog(t, { connection: proxy.url, canaryMs: 60_000 })
  const recorder = new Recorder()
  await log.follow('a', recorder)
  proxy.deafen('subscribe')
  await log.append('a', newEvents(1))
  await until(() => recorder.resyncs > 0)
  t.match(log.health, { replaced: 1 })
  t.match(lines[0], /message connection is silent; replacing it/)
})

t.test('Network silent for a while: everything works again when it is back', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const { log } = await startLog(t, { connection: proxy.url, canaryMs: 100, commandTimeoutMs: 2_000 })
  const recorder = new Recorder()
  await log.follow('a', recorder)
  proxy.silence()
  await until(() => log.health.problem !== undefined)
  proxy.unsilence()
  await until(() => log.isHealthy)
  await log.append('a', newEvents(1, 'after '))
  // A message connection that was not replaced yet has lost nothing, so it needs no resync: it only matters that it
  // receives messages.
  await until(() => recorder.entries.some(({ data }) => data === 'after 1'))
  t.ok(log.isHealthy)
})

// Regression: there was one line with a stack for each connection and each retry: 104 in 20 s, and thousands if many
// topics were followed.
t.test('Redis unavailable for a while: one line is logged when it starts and one when it ends, however many topics and connections there are', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const inbox = new Inbox()
  const log = new RedisLog({ connection: proxy.url, canaryMs: 100 })
  const store = new RedisTokenStore({ connection: proxy.url })
  const app = Fastify({ logger: logInto(inbox, 'info'), disableRequestLogging: true })
  t.teardown(() => app.close())
  await app.register(sse)
  await app.register(topics, { log })
  app.addHook('onClose', () => store.stop())
  app.get<{ Params: { topic: string } }>(
    '/events/:topic',
    (request, reply) => reply.sse(app.topics.subscribe(request.params.topic))
  )
  await store.start(() => {}, app.log)
  const streams = await Promise.all(Array.from({ length: 30 }, (_, at) => injectSse(app, `/events/topic${at}`)))
  await until(() => log.isHealthy)
  for (let round = 0; round < 3; round++) {
    const { reconnects } = log.health
    proxy.down()
    await until(() => log.health.problem !== undefined)
    await t.rejects(log.append('a', newEvents(1)), UNAVAILABLE)
    proxy.up()
    await until(() => log.isHealthy && log.health.reconnects > reconnects)
  }
  await inbox.until('all connections work again')
  const levels = linesWith(inbox, '"level"').map(({ level }) => level)
  t.same(levels.slice(0, 2), [40, 30])
  t.ok(levels.length <= 6, 'repeated failures are one problem, or three when the machine is slow')
  t.notMatch(inbox.text, /stack/)
  for (const [at, stream] of streams.entries()) {
    await log.append(`topic${at}`, newEvents(1))
    await stream.next(2)
    stream.close()
  }
})

// Regression: under load a start logged that the message connection received nothing, and with CANARY_MS below 500
// this happened whenever the process was busy.
t.test('Process busy: the connections are not treated as silent', async t => {
  const server = await RedisServer.start(t)
  const { log, lines } = await startLog(t, { connection: server.url, canaryMs: 10 })
  await until(() => log.isHealthy)
  for (const ms of [300, 1_500, 5_000]) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
    await until(() => log.health.canaryAgeMs < 100)
  }
  t.match(log.health, { replaced: 0, reconnects: 0 })
  t.same(lines, [])
})

// Regression: the watch used the wall clock: after it was set back by an hour, the watch did nothing for an hour.
t.test('Clock of the process set back or forward: the monitoring of the connections is not affected', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const { log } = await startLog(t, { connection: proxy.url, canaryMs: 50 })
  const recorder = new Recorder()
  await log.follow('a', recorder)
  await until(() => log.isHealthy)
  const { now } = Date
  for (const jumpMs of [3_600_000, -3_600_000]) {
    t.intercept(Date, 'now', { value: () => now() + jumpMs, configurable: true })
    await until(() => log.health.canaryAgeMs < 1_000)
    t.ok(log.health.canaryAgeMs >= 0)
    t.equal(log.isHealthy, true)
    const { replaced } = log.health
    proxy.deafen('subscribe')
    await until(() => log.health.replaced > replaced)
    await until(() => log.isHealthy)
  }
})

/** A real server whose reported version is changed: the replies pass through, with one number replaced. */
async function startWithVersion (t: Test, server: RedisServer, version: string): Promise<string> {
  const proxy = createServer(client => {
    const upstream = connect(server.port, '127.0.0.1')
    for (const socket of [client, upstream]) socket.on('error', () => {})
    client.pipe(upstream)
    upstream.on('data', (chunk: Buffer) => {
      client.write(chunk.toString('latin1').replace(
        /redis_version:(\S+)/,
        (line, real: string) => `redis_version:${version.padEnd(real.length, '0').slice(0, real.length)}`
      ), 'latin1')
    })
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => proxy.close())
  return `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`
}

// Redis 6.2 has no sharded messages and no way for a script to check permissions; nothing reported this until something
// failed.
t.test('Redis too old: the log reports the version it found, and is unavailable', async t => {
  const server = await RedisServer.start(t)
  const url = await startWithVersion(t, server, '6.2.14')
  const { log, lines } = await startLog(t, { connection: url, canaryMs: 50 })
  await t.rejects(log.append('a', newEvents(1)), {
    ...UNAVAILABLE, message: /Redis 6\.2\.\d* is too old: version 7 or later is needed/
  })
  t.match(log.health, { isHealthy: false, problem: /too old/ })
  t.equal(lines.length, 1)
  const { log: newer } = await startLog(t, { connection: await startWithVersion(t, server, '9.1.2'), canaryMs: 50 })
  await newer.append('a', newEvents(1))
})
