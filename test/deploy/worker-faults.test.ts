import { copyFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { open } from '../support/clients/client.ts'
import { originIn, run, runService } from '../support/processes/commands.ts'
import type { Command } from '../support/processes/commands.ts'
import { until } from '../support/until.ts'
import { stablePort } from '../support/network/ports.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { ResumingClient } from '../support/clients/resuming-client.ts'
import { call } from '../support/service/service-app.ts'
import { childrenOf, isGone, listen, pause, publish, startTeam } from '../support/processes/team.ts'

// WORKERS=n, if workers die, hang, or cannot be started.

/** Two workers whose drain does not finish, because a client does not read; settles when the drain has begun. */
async function startEndlessDrain (t: Test): Promise<{ service: Command, workers: number[] }> {
  const { service, origin } = await startTeam(t, { DRAIN_MS: '2147483647', HEARTBEAT_MS: '2147483647' })
  const stalled = await open(t, `${origin}/events?topic=news`)
  stalled.response.pause()
  for (let published = 0; published < 60; published++) await publish(origin, 'x'.repeat(200_000))
  const [other] = await listen(t, origin, 1)
  const workers = childrenOf(service.pid)
  service.kill('SIGTERM')
  await other!.inbox.ended()
  return { service, workers }
}

t.test('a second signal ends all processes at once', async t => {
  const { service, workers } = await startEndlessDrain(t)
  service.kill('SIGTERM')
  t.equal(await service.exit(), 1)
  await until(() => workers.every(isGone))
})

t.test('a worker that is killed while it drains is not replaced, and the exit code is 1', async t => {
  const { service, workers } = await startEndlessDrain(t)
  for (const pid of workers) if (!isGone(pid)) process.kill(pid, 'SIGKILL')
  t.equal(await service.exit(), 1)
  t.notMatch(service.out, 'starting a replacement')
})

// Regression: it kept the primary alive indefinitely, and with it a container or unit, until somebody killed
// everything.
t.test('a worker that hangs while it drains is finally killed and reported, and the exit code is 1', async t => {
  const { service } = await startTeam(t, { DRAIN_MS: '50' })
  const workers = childrenOf(service.pid)
  const [hung = 0] = workers
  await pause(hung)
  service.kill('SIGTERM')
  t.equal(await service.exit(), 1)
  // On a busy machine the other worker may be as late.
  t.match(service.out, new RegExp(
    `"workers":\\[(\\d+,)?${hung}(,\\d+)?\\],"afterMs":3050,"msg":"workers did not exit in time and are killed"`
  ))
  await until(() => workers.every(isGone))
})

// Regression: when the primary distributed the connections, a client that connected at that moment waited indefinitely.
t.test('a worker that dies is reported and replaced; its clients reconnect to the others and miss nothing', async t => {
  const { service, origin } = await startTeam(t)
  const clients = await Promise.all([1, 2, 3, 4].map(() => ResumingClient.start(t, { origin, topics: ['news'] })))
  await publish(origin, 'one')
  const [first = 0, second = 0] = childrenOf(service.pid)
  process.kill(first, 'SIGKILL')
  // The event may be lost with the worker: it is published as an application would, repeatedly until it is
  // acknowledged.
  const headers = { 'idempotency-key': 'two' }
  await until(() => call(
    `${origin}/topics/news/events`,
    { method: 'POST', body: 'two', type: 'text/plain', headers }
  ).then(({ status }) => status === 201, () => false))
  await service.until(({ out }) => out.includes(
    `"worker":${first},"code":null,"signal":"SIGKILL","pauseMs":100,"msg":"a worker exited; starting a replacement"`
  ))
  await service.until(({ out }) => out.match(/Server listening/g)?.length === 3)
  // A worker that is stopped separately, as in a rolling restart, is replaced as well.
  process.kill(second, 'SIGTERM')
  await service.until(({ out }) => out.includes(`"worker":${second},"code":0,"signal":null`))
  await service.until(({ out }) => out.match(/Server listening/g)?.length === 4)
  await publish(origin, 'three')
  for (const client of clients) {
    await client.untilData(['three'])
    t.same(client.events.map(({ data }) => data), ['one', 'two', 'three'])
    t.same(client.gaps, [])
  }
})

/** A copy of Node in a folder of its own, to imitate a Node that an upgrade removes while it is running. */
function copyOfNode (t: Test): { folder: string, node: string } {
  const folder = join(t.testdir({ bin: {} }), 'bin')
  const node = join(folder, 'node')
  copyFileSync(process.execPath, node)
  return { folder, node }
}

// Node reports a missing program by an event, and a folder that is not one by throwing: the slot stayed empty, or the
// primary exited together with all other workers.
t.test('the start of a worker that fails is retried until it succeeds', async t => {
  const { url } = await RedisServer.start(t)
  const { folder, node } = copyOfNode(t)
  const service = run(t, node, ['service/dist/cli.js'], { WORKERS: '2', REDIS_URL: url, PORT: `${await stablePort()}` })
  await service.until(({ err }) => err.includes('Publish:'))
  const fails = (code: string) => service.until(({ out }) =>
    new RegExp(`"code":"${code}".*"pauseMs":\\d+,"msg":"a worker could not be started; trying again"`).test(out))
  renameSync(folder, `${folder}.away`)
  process.kill(childrenOf(service.pid)[0]!, 'SIGKILL')
  await fails('ENOENT')
  writeFileSync(folder, '')
  await fails('ENOTDIR')
  t.match(await call(`${originIn(service.err)}/metrics`), { status: 200 }, 'a worker that did not start is not queried')
  rmSync(folder)
  renameSync(`${folder}.away`, folder)
  await service.until(({ out }) => out.match(/Server listening/g)?.length === 3)
  t.equal(childrenOf(service.pid).length, 2)
  t.same([...service.out.matchAll(/"pauseMs":(\d+)/g)].map(match => match[1]).slice(0, 3), ['100', '200', '400'])
})

t.test('if not even the first worker can be started, this is reported, and the exit code is 1', async t => {
  const { url } = await RedisServer.start(t)
  const service = run(
    t,
    process.execPath,
    ['--import=data:text/javascript,process.execPath="/nowhere/node"', 'service/dist/cli.js'],
    { WORKERS: '2', REDIS_URL: url, PORT: `${await stablePort()}` }
  )
  t.equal(await service.exit(), 1)
  t.equal(service.err, 'resumable-sse: no worker can be started: spawn /nowhere/node ENOENT\n')
})

// Regression: the start only observed the first worker: if a later one died before it listened, the start never
// finished.
t.test('a worker that dies before it listens does not prevent the start from finishing', async t => {
  const redis = await RedisServer.start(t)
  const service = runService(t, { WORKERS: '2', REDIS_URL: redis.url, PORT: `${await stablePort()}` })
  await service.until(({ out }) => out.includes('Server listening'))
  await until(() => childrenOf(service.pid).length === 2)
  process.kill(Math.max(...childrenOf(service.pid)), 'SIGKILL')
  await service.until(({ err }) => err.includes('Publish:'))
  await service.until(({ out }) => out.includes('starting a replacement'))
})
