import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { describeFailure } from '../../../service/cli/failure.ts'
import { connect, open, stall } from '../../support/clients/client.ts'
import type { Bare } from '../../support/clients/client.ts'
import { runService, startService } from '../../support/processes/commands.ts'
import type { Command } from '../../support/processes/commands.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { call } from '../../support/service/service-app.ts'

// The built command as users start it: what it says, and how it ends.

/** Of a request whose body is 100 bytes. */
const POST_HEAD = 'POST /topics/news/events HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: ' +
  '100\r\n\r\n'

const publish = (origin: string, body: string, type = 'text/plain') =>
  call(`${origin}/topics/news/events`, { method: 'POST', body, type })

t.test('it prints where the events are stored', async t => {
  const { service } = await startService(t, { LOG: 'memory' })
  t.match(service.err, '(events in memory: they are lost when the process ends)')
})

t.test('all problems of an invalid configuration are reported, and the exit code is 1', async t => {
  const service = runService(t, { PORT: 'http', LOG: 'files', HEARTBEAT_MS: '1', HOST: '0.0.0.0' })
  t.equal(await service.exit(), 1)
  t.equal(service.err, [
    'resumable-sse: invalid configuration:',
    '  - PORT must be an integer from 0 to 65535, saw "http"',
    '  - LOG must be "lmdb", "redis" or "memory", saw "files"',
    '  - HEARTBEAT_MS must be an integer from 10 to 2147483647 (ms), saw "1"',
    '  - HOST "0.0.0.0" is reachable from other machines, and anyone who can reach it could publish and subscribe: ' +
      'set JWT_SECRET, JWT_PUBLIC_KEY, JWKS_URL or PROXY_HEADER, or OPEN_TO_ALL=yes if this is intended'
  ].join('\n') + '\n')
  t.equal(service.out, '')
})

/** It must have ended by itself with one line for people and nothing else. */
async function failsWith (t: Test, service: Command, message: RegExp): Promise<void> {
  t.equal(await service.exit(), 1)
  t.match(service.err, message)
  t.equal(service.err.split('\n').length, 2, 'one line, without a stack')
  t.equal(service.out, '')
}

// It was a stack of Node's that ended in "Emitted 'error' event".
t.test('a port in use is reported, and the exit code is 1', async t => {
  const other = createServer().listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  await failsWith(t, runService(t, { PORT: `${port}` }), new RegExp(
    `^resumable-sse: .*address already in use 127.0.0.1:${port}: stop the program that listens there, or set PORT to another one\n$`
  ))
})

// The connections to Redis kept it alive, without a port.
t.test('a port in use is reported with the Redis log too, and the exit code is 1', async t => {
  const { url } = await RedisServer.start(t)
  const { origin } = await startService(t, { LOG: 'memory' })
  await failsWith(
    t,
    runService(t, { REDIS_URL: url, PORT: new URL(origin).port }),
    /^resumable-sse: .*address already in use/
  )
})

t.test('an address that is not of this machine is reported, and the exit code is 1', async t => {
  await failsWith(
    t,
    runService(t, { HOST: '192.0.2.1', OPEN_TO_ALL: 'yes', LOG_LEVEL: 'silent' }),
    /^resumable-sse: .*192.0.2.1.*: set HOST to an address of this machine\n$/
  )
})

// It was a stack, too: two services with the default folder, as in two terminals, are the first mistake people make.
t.test('a folder that another process uses is reported, the exit code is 1, and the other process continues', async t => {
  const folder = t.testdir()
  const { origin } = await startService(t, { DATA_DIR: folder })
  await failsWith(
    t,
    runService(t, { DATA_DIR: folder }),
    /^resumable-sse: the log in .* is in use by another process: give each process a folder of its own, or use the Redis log/
  )
  t.equal((await publish(origin, 'hello')).status, 201)
})

t.test('a folder that cannot be created is reported, and the exit code is 1', async t => {
  const file = `${t.testdir()}/file`
  writeFileSync(file, '')
  await failsWith(
    t,
    runService(t, { DATA_DIR: file }),
    /^resumable-sse: DATA_DIR must be a folder that this process can write to, with its files, saw ".*file" \(EEXIST\)\n$/
  )
})

t.test('only unexpected errors are reported with their stack', async t => {
  const bug = new Error('a bug')
  t.equal(describeFailure(bug), bug.stack)
  t.equal(describeFailure(Object.assign(new Error('no stack'), { stack: undefined })), 'no stack')
  t.equal(describeFailure('thrown by hand'), 'thrown by hand')
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} ends every stream after its own retry time, and the exit code is 0`, async t => {
    const { service, origin } = await startService(t, { DRAIN_MS: '2000' })
    const clients = await Promise.all(Array.from({ length: 20 }, () => open(t, `${origin}/events?topic=news`)))
    await Promise.all(clients.map(({ inbox }) => inbox.until('stream.open')))
    await publish(origin, 'last words')
    service.kill(signal)
    const texts = await Promise.all(clients.map(({ inbox }) => inbox.ended()))
    for (const text of texts) t.match(text, /data: last words\n\nretry: \d+\n$/)
    t.ok(new Set(texts.map(text => /(\d+)\n$/.exec(text)?.[1])).size > 1, 'they do not reconnect together')
    t.equal(await service.exit(), 0)
  })
}

/**
 * A client that took all its kernel would hold and reads no more: the stream cannot be flushed, and the drain waits.
 */
async function stalledClient (t: Test, origin: string): Promise<Bare> {
  const client = await stall(t, origin, '/events?topic=news&last=100')
  const text = 'x'.repeat(200_000)
  for (let published = 0; published < 60; published++) await publish(origin, text)
  return client
}

t.test('a stream requested during the drain is asked to retry later, and a second signal exits at once', async t => {
  const { service, origin } = await startService(t, { DRAIN_MS: '2147483647', DURABILITY: 'process' })
  await stalledClient(t, origin)
  const reading = await open(t, `${origin}/events?topic=news`)
  await reading.inbox.until('stream.open')
  service.kill('SIGTERM')
  await reading.inbox.ended()
  const late = await open(t, `${origin}/events?topic=news`)
  t.equal(late.statusCode, 200)
  t.match(await late.inbox.ended(), /^:\n(retry: 3000\n)?retry: \d+\n$/)
  service.kill('SIGTERM')
  t.equal(await service.exit(), 1)
})

t.test('a client that does not read is cut at the end of the drain, and the exit code is 0', async t => {
  const { service, origin } = await startService(t, { DRAIN_MS: '200', DURABILITY: 'process' })
  await stalledClient(t, origin)
  service.kill('SIGTERM')
  t.equal(await service.exit(), 0)
})

// Node waits for such a connection until its headers are late: a stop took 70 s behind a client that connects ahead.
t.test('a connection on which nothing was sent does not delay the exit', async t => {
  const { service, origin } = await startService(t, { DRAIN_MS: '2147483647' })
  await connect(t, origin)
  // Connections are accepted in their order: the one before is there when this answer is.
  t.equal((await call(`${origin}/healthz`)).status, 200)
  service.kill('SIGTERM')
  t.equal(await service.exit(), 0)
})

t.test('an incomplete request is cut at the end of the drain', async t => {
  const { service, origin } = await startService(t, { DRAIN_MS: '200' })
  const { send } = await connect(t, origin)
  send(`${POST_HEAD}half of it`)
  t.equal((await call(`${origin}/healthz`)).status, 200)
  service.kill('SIGTERM')
  t.equal(await service.exit(), 0)
})

t.test('its log is one line, whatever clients do: publish, subscribe, disconnect, reconnect, and send invalid requests', async t => {
  const { service, origin } = await startService(t)
  await publish(origin, 'one')
  const listener = await open(t, `${origin}/events?topic=news&last=1`)
  await listener.inbox.until('data: one')
  const leaving = await open(t, `${origin}/events?topic=news`)
  await leaving.inbox.until('stream.open')
  leaving.close()
  await open(t, `${origin}/events?topic=news`, { headers: { 'last-event-id': '$' } })
  for (const path of ['/nowhere', '/events', '/events?topic=*', '/topics/news', '/topics/']) await call(origin + path)
  t.equal((await publish(origin, '{', 'application/json')).status, 400)
  t.equal((await publish(origin, 'x'.repeat(2_000_000))).status, 413)
  const cut = await connect(t, origin)
  cut.send(`${POST_HEAD}half of it`)
  cut.socket.resetAndDestroy()
  await call(`${origin}/topics/news`, { method: 'DELETE' })
  await call(`${origin}/topics/news/close`, { method: 'POST' })
  await listener.inbox.until('stream.end')
  await service.stop()
  const lines = service.out.trim().split('\n').map(line => JSON.parse(line) as Record<string, unknown>)
  t.match(lines, [{ level: 30, msg: `Server listening at ${origin}` }])
  t.equal(lines.length, 1)
})

// After a restart clients reconnect at up to a thousand a second, and a busy process may accept none for a moment:
// beyond 511 that waited they were dropped or reset.
t.test('a thousand clients that connect while the process is busy are all served', async t => {
  const { service, origin } = await startService(t, { LOG: 'memory' })
  service.kill('SIGSTOP')
  const clients = await Promise.all(Array.from({ length: 1_000 }, () => connect(t, origin)))
  service.kill('SIGCONT')
  for (const { send } of clients) send('GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
  const answers = await Promise.all(clients.map(({ inbox }) => inbox.ended()))
  t.equal(answers.filter(text => text.startsWith('HTTP/1.1 200 ')).length, 1_000)
})
