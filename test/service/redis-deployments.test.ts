import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { open } from '../support/client.ts'
import { certificateFiles } from '../support/http2-client.ts'
import { until } from '../support/log-contract.ts'
import { stablePort } from '../support/ports.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { MASTER_NAME, SentinelGroup } from '../support/redis-sentinel.ts'
import { RedisServer } from '../support/redis-server.ts'
import { TestService } from '../support/service-app.ts'
import { runCommand } from '../support/terminal.ts'
import { bearer, SECRET, sign } from '../support/tokens.ts'

// The service on Redis as it is deployed, configured by variables alone: events flow, resume, and one-time tokens are stored.

/** Publishes, listens, comes back with the id, and uses a one-time token: log and token store, commands and messages. */
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
  const { token } = (await service.call('/events/auth', { method: 'POST', body: { topics: ['news'] }, headers })).json as { token: string }
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

t.test('a user with a password, given in the URL or in a file, and a prefix that the user is held to', async t => {
  const redis = await RedisServer.start(t)
  await redis.with(client => client.call('ACL', 'SETUSER', 'app', ...ACL_USER))
  const file = join(folderOf(t), 'password')
  writeFileSync(file, 'p@ss:w/rd#?%&é\n')
  await checkService(t, { REDIS_URL: `redis://app:${encodeURIComponent('p@ss:w/rd#?%&é')}@127.0.0.1:${redis.port}/0`, PREFIX: 'app:' })
  await checkService(t, { REDIS_URL: redis.url, REDIS_USERNAME: 'app', REDIS_PASSWORD_FILE: file, PREFIX: 'app:' })
  t.same(await redis.with(client => client.keys('sse:*')), [], 'every key has the prefix, those of tokens too')
})

t.test('a database of its own', async t => {
  const redis = await RedisServer.start(t)
  await checkService(t, { REDIS_URL: `${redis.url}/3` })
  t.same(await redis.with(client => client.keys('*')), [], 'nothing is in database 0')
})

// It was "is it running, and is its URL right?" for all of them (U6), and database 99 was used as 0 (F5).
t.test('--check reports the reason that Redis gave', async t => {
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

// The user could read and write, so the check said that all was well, and no stream of the service received an event.
t.test('--check reports a problem of a log that answers, and what to do', async t => {
  const redis = await RedisServer.start(t)
  await redis.with(client => client.call('ACL', 'SETUSER', 'app', 'on', '>right', '~*', '+@all', 'resetchannels'))
  const env = { REDIS_URL: `redis://app:right@127.0.0.1:${redis.port}` }
  const { code, out, err } = await runCommand(['--check'], { ...env, PREFIX: 'shop:' })
  t.match({ code, out }, { code: 1, out: '' })
  t.match(err, /the log responds, but has a problem: NOPERM .*: grant the Redis user its permissions, including the channels "&shop:\*"/)
  await redis.with(client => client.call('ACL', 'SETUSER', 'app', '&sse:*'))
  t.match(await runCommand(['--check'], env), { code: 0, err: '' })
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

t.test('TLS with an authority of its own and a certificate of the client', async t => {
  const { cert, key } = certificateFiles(t)
  const port = await stablePort()
  await RedisServer.start(t, { args: ['--tls-port', `${port}`, '--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert, '--tls-auth-clients', 'yes'] })
  const env = { REDIS_URL: `rediss://127.0.0.1:${port}`, REDIS_TLS_CA: cert }
  await checkService(t, { ...env, REDIS_TLS_CERT: cert, REDIS_TLS_KEY: key })
  t.match(await runCommand(['--check'], { ...env, REDIS_TLS_CA: '' }), { code: 1, out: '', err: /^resumable-sse: the log is not available/ })
  t.match(await runCommand(['--check'], env), { code: 1, out: '', err: /^resumable-sse: the log is not available/ })
})

t.test('Sentinels, which ask for a user of their own', async t => {
  const group = await SentinelGroup.start(t)
  for (const { port } of group.sentinels) await asSentinel(port, client => client.call('ACL', 'SETUSER', 'watcher', 'on', '>a password', '+@all', '~*', '&*'))
  const nodes = group.sentinels.map(({ host, port }) => `${host}:${port}`).join()
  await checkService(t, { REDIS_URL: `redis+sentinel://${nodes}/${MASTER_NAME}/1`, REDIS_SENTINEL_USERNAME: 'watcher', REDIS_SENTINEL_PASSWORD: 'a password' })
  const users = await asSentinel(group.sentinels[0]!.port, client => client.call('ACL', 'LOG'))
  t.same(users, [], 'nobody was turned away')
})

t.test('replicas that a publish waits for', async t => {
  const group = await SentinelGroup.start(t)
  const url = `redis+sentinel://127.0.0.1:${group.sentinels[0]!.port}/${MASTER_NAME}`
  const service = await TestService.start(t, { REDIS_URL: url, LOG: 'redis', REPLICAS: '1', REPLICAS_TIMEOUT_MS: '3000' })
  await until(async () => (await service.call('/readyz')).status === 200)
  t.equal((await service.publish('news', { data: 'replicated' })).status, 201)
  group.servers[1].pause()
  t.equal((await service.publish('news', { data: 'alone' })).status, 503)
  group.servers[1].unpause()
})

t.test('a cluster', async t => {
  const servers = await startCluster(t)
  await checkService(t, { REDIS_URL: `redis+cluster://${servers.slice(0, 2).map(({ port }) => `127.0.0.1:${port}`).join(',')}`, PREFIX: 'cluster:' })
})
