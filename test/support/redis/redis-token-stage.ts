import type { Redis } from 'ioredis'
import type { Test } from 'tap'
import { RedisTokenStore } from '../../../plugin/auth/one-time/redis-token-store.ts'
import type { RedisTokenStoreOptions } from '../../../plugin/auth/one-time/redis-token-store.ts'
import type { StoreChange, TokenRecord } from '../../../plugin/auth/one-time/token-store.ts'
import { silentLogger } from './redis-server.ts'
import type { RedisServer } from './redis-server.ts'
import type { StoreStage } from '../auth/token-store-contract.ts'

/**
 * A started Redis store. `servers` are those that have keys; it has a separate prefix, so that no other store is aged.
 */
export async function stageRedisStore (
  t: Test,
  options: RedisTokenStoreOptions,
  servers: readonly RedisServer[]
): Promise<StoreStage & { store: RedisTokenStore }> {
  const store = new RedisTokenStore(options)
  t.teardown(() => store.stop())
  const changes: StoreChange[] = []
  await store.start(change => changes.push(change), silentLogger)
  return {
    store,
    changes,
    async age (ms) {
      for (const server of servers) await server.with(client => ageKeys(client, options.prefix ?? 'sse:', ms))
    }
  }
}

/** The clock of a server cannot be set, so every stored time is moved back. */
async function ageKeys (client: Redis, prefix: string, ms: number): Promise<void> {
  for (const key of await client.keys(`${prefix}*`)) {
    const name = key.slice(prefix.length)
    if (name === '{revoked}:forgotten') await client.decrby(key, ms)
    else if (name.startsWith(
      '{revoked}:'
    )) await Promise.all((await client.zrange(key, 0, '-1')).map(subject => client.zincrby(key, -ms, subject)))
    else await ageHash(client, key, ms)
  }
}

async function ageHash (client: Redis, key: string, ms: number): Promise<void> {
  for (const field of ['until', 'expires', 'ends', 'spent']) {
    if (await client.hexists(key, field)) await client.hincrby(key, field, -ms)
  }
  const { grant, origin } = JSON.parse((await client.hget(key, 'record'))!) as TokenRecord
  if (grant.expiresAtMs !== undefined) {
    await client.hset(key, 'record', JSON.stringify({
      grant: { ...grant, expiresAtMs: grant.expiresAtMs - ms }, origin
    }))
  }
  const left = await client.pttl(key)
  // Zero or less deletes it.
  await client.pexpire(key, left - ms)
}
