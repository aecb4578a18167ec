import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { open } from '../../support/clients/client.ts'
import { certificateFiles } from '../../support/network/http2-client.ts'
import { until } from '../../support/until.ts'
import { stablePort } from '../../support/network/ports.ts'
import { startCluster } from '../../support/redis/redis-cluster.ts'
import { MASTER_NAME, SentinelGroup } from '../../support/redis/redis-sentinel.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { TestService } from '../../support/service/service-app.ts'
import { runCommand } from '../../support/processes/terminal.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

// The service on Redis in its usual deployments, configured only by variables: events are delivered, streams resume,
// and one-time tokens are stored.

/**
 * Publishes, subscribes, resumes with the id, and uses a one-time token: log and token store, commands and messages.
 */
async function checkService (t: Test, env: Record<string, string>): Promise<void> {
  const service = await TestService.start(t, { LOG: 'redis', JWT_SECRET: SECRET, ...env })
  const headers = bearer(await sign())
  await until(async () => (await service.call('/readyz')).status === 200)
  const { inbox, close } = await open(t, `${service.origin}/events?topic=news`, { headers })
  await inbox.until('stream.open')
  t.equal((await service.publish('news', { data: 'one' }, { headers })).status, 201)
  await inbox.until('data: one\n\n')
  close()
  const id = /id: (\S+)\ndata: one/.exec(inbox.text)![1]!
  t.equal((await service.publish('news', { data: 'two' }, { headers })).status, 201)
  const { token } = (await service.call('/events/auth', {
    method: 'POST', body: { topics: ['news'] }, headers
  })).json as { token: string }
  const again = await open(t, `${service.origin}/events?topic=news&ot=${token}&lastEventId=${id}`)
  await again.inbox.until('data: two\n\n')
  t.notMatch(again.inbox.text, 'data: one')
  again.close()
  t.match(await runCommand(['--check'], { ...env, JWT_SECRET: SECRET }), { code: 0, err: '' })
}

function folderOf (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'service-redis-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

async function asSentinel<T> (port: number, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(port, '127.0.0.1')
  try {
    return await use(client)
  } finally {
    client.disconnect()
  }
}

const ACL_USER = ['on', '>p@ss:w/rd#?%&é', '~app:*', '&app:*', '+@all', '-config']

t.test('a user with a password, given in the URL or in a file, and a prefix that the user is restricted to', async t => {
  const redis = await RedisServer.start(t)
  await redis.with(client => client.call('ACL', 'SETUSER', 'app', ...ACL_USER))
  const file = join(folderOf(t), 'password')
  writeFileSync(file, 'p@ss:w/rd#?%&é\n')
  await checkService(t, {
    REDIS_URL: `redis://app:${encodeURIComponent('p@ss:w/rd#?%&é')}@127.0.0.1:${redis.port}/0`, PREFIX: 'app:'
  })
  await checkService(t, { REDIS_URL: redis.url, REDIS_USERNAME: 'app', REDIS_PASSWORD_FILE: file, PREFIX: 'app:' })
  t.same(await redis.with(client => client.keys('sse:*')), [], 'every key has the prefix, including those of tokens')
})

t.test('a separate database', async t => {
  const redis = await RedisServer.start(t)
  await checkService(t, { REDIS_URL: `${redis.url}/3` })
  t.same(await redis.with(client => client.keys('*')), [], 'nothing is in database 0')
})

// Regression: the message was "is it running, and is its URL right?" for all of them (U6), and database 99 was treated
// as 0 (F5).
t.test('--check reports the reason that Redis returned', async t => {
  const redis = await RedisServer.start(t)
  await redis.with(client => client.call('ACL', 'SETUSER', 'app', 'on', '>right', '~*', '&*', '+@all', '-select'))
  const reasons: [string, RegExp][] = [
    [`redis://app:wrong@127.0.0.1:${redis.port}`, /WRONGPASS/],
    [`redis://app:right@127.0.0.1:${redis.port}/1`, /NOPERM/],
    [`${redis.url}/99`, /DB index is out of range/],
    ['redis://127.0.0.1:1', /ECONNREFUSED/]
  ]
  for (const [REDIS_URL, reason] of reasons) {
    const { code, out, err } = await runCommand(['--check'], { REDIS_URL })
    t.match({ code, out }, { code: 1, out: '' })
    t.match(err, reason, REDIS_URL)
    t.notMatch(err, /wrong@|right@/)
  }
})

// Regression: the user could read and write, so the check reported success, but no stream of the service received an
// event.
t.test('--check reports a problem of a log that responds, and what to do', async t => {
  const redis = await RedisServer.start(t)
  await redis.with(client => client.call('ACL', 'SETUSER', 'app', 'on', '>right', '~*', '+@all', 'resetchannels'))
  const env = { REDIS_URL: `redis://app:right@127.0.0.1:${redis.port}` }
  const { code, out, err } = await runCommand(['--check'], { ...env, PREFIX: 'shop:' })
  t.match({ code, out }, { code: 1, out: '' })
  t.match(
    err,
    /the log responds, but has a problem: NOPERM .*: grant the Redis user its permissions, including the channels "&shop:\*"/
  )
  await redis.with(client => client.call('ACL', 'SETUSER', 'app', '&sse:*'))
  t.match(await runCommand(['--check'], env), { code: 0, err: '' })
})

// Regression: it only reported that the log responds: a full Redis, a replica, or a read-only user failed at the first
// publish.
t.test('--check detects a Redis that would reject a publish, and leaves nothing in it', async t => {
  const redis = await RedisServer.start(t)
  const check = (env: Record<string, string> = {}) => runCommand(['--check'], { REDIS_URL: redis.url, ...env })
  const refused = (problem: string) =>
    ({ code: 1, out: '', err: new RegExp(`the log can be read, but a publish would fail: ${problem}`) })
  await redis.with(async client => {
    await client.call(
      'ACL',
      'SETUSER',
      'reader',
      'on',
      '>right',
      '~sse:*',
      '&sse:*',
      ...'+@read +@connection +@pubsub +@scripting +info +time'.split(' ')
    )
    t.match(
      await check({ REDIS_URL: `redis://reader:right@127.0.0.1:${redis.port}` }),
      refused('NOPERM .* may not run XADD .*: grant the Redis user')
    )
    await client.config('SET', 'maxmemory', '1mb')
    t.match(await check(), refused('OOM '))
    await client.config('SET', 'maxmemory', '0')
    t.match(await check({ REPLICAS: '1', REPLICAS_TIMEOUT_MS: '10' }), refused('.* 0 of 1 replicas'))
    await client.config('SET', 'min-replicas-to-write', '1')
    t.match(await check(), refused('NOREPLICAS '))
    await client.config('SET', 'min-replicas-to-write', '0')
    await client.call('REPLICAOF', '127.0.0.1', '1')
    t.match(await check(), refused('READONLY '))
    await client.call('REPLICAOF', 'NO', 'ONE')
    t.match(await check(), { code: 0, err: '' })
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru')
    t.match(await check(), {
      code: 0, err: /^resumable-sse: warning: redis: maxmemory-policy must be "noeviction".*\n$/
    })
    t.same(await client.keys('*'), [])
  })
})

t.test('a Unix socket', async t => {
  const path = join(folderOf(t), 'redis ö.sock')
  const redis = await RedisServer.start(t, { args: ['--unixsocket', path] })
  await checkService(t, { REDIS_URL: `unix://${encodeURI(path)}?db=2` })
  await checkService(t, { REDIS_URL: `redis+unix://${encodeURI(path)}` })
  t.ok(await redis.with(async client => {
    await client.select(2)
    return (await client.keys('*')).length
  }))
})

t.test('TLS with a private certificate authority and a client certificate', async t => {
  const { cert, key } = certificateFiles(t)
  const port = await stablePort()
  await RedisServer.start(t, {
    args: [
      '--tls-port',
    `${port}`,
    '--tls-cert-file',
    cert,
    '--tls-key-file',
    key,
    '--tls-ca-cert-file',
    cert,
    '--tls-auth-clients',
    'yes'
    ]
  })
  const env = { REDIS_URL: `rediss://127.0.0.1:${port}`, REDIS_TLS_CA: cert }
  await checkService(t, { ...env, REDIS_TLS_CERT: cert, REDIS_TLS_KEY: key })
  t.match(await runCommand(['--check'], { ...env, REDIS_TLS_CA: '' }), {
    code: 1, out: '', err: /^resumable-sse: the log is not available/
  })
  t.match(await runCommand(['--check'], env), { code: 1, out: '', err: /^resumable-sse: the log is not available/ })
})

t.test('Sentinels that require a separate user', async t => {
  const group = await SentinelGroup.start(t)
  for (const { port } of group.sentinels) {
    await asSentinel(port, client => client.call('ACL', 'SETUSER', 'watcher', 'on', '>a password', '+@all', '~*', '&*'))
  }
  const nodes = group.sentinels.map(({ host, port }) => `${host}:${port}`).join()
  await checkService(t, {
    REDIS_URL: `redis+sentinel://${nodes}/${MASTER_NAME}/1`,
    REDIS_SENTINEL_USERNAME: 'watcher',
    REDIS_SENTINEL_PASSWORD: 'a password'
  })
  const users = await asSentinel(group.sentinels[0]!.port, client => client.call('ACL', 'LOG'))
  t.same(users, [], 'no client was rejected')
})

t.test('replicas that a publish waits for', async t => {
  const group = await SentinelGroup.start(t)
  const url = `redis+sentinel://127.0.0.1:${group.sentinels[0]!.port}/${MASTER_NAME}`
  const service = await TestService.start(t, {
    REDIS_URL: url, LOG: 'redis', REPLICAS: '1', REPLICAS_TIMEOUT_MS: '3000'
  })
  await until(async () => (await service.call('/readyz')).status === 200)
  t.equal((await service.publish('news', { data: 'replicated' })).status, 201)
  group.servers[1].pause()
  t.equal((await service.publish('news', { data: 'alone' })).status, 503)
  group.servers[1].unpause()
})

t.test('a cluster', async t => {
  const servers = await startCluster(t)
  await checkService(t, {
    REDIS_URL: `redis+cluster://${servers.slice(0, 2).map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    PREFIX: 'cluster:'
  })
})
