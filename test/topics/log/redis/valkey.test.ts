import { randomUUID } from 'node:crypto'
import t from 'tap'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import { testLogContract } from '../../../support/log-contract.ts'
import { until } from '../../../support/until.ts'
import { RedisServer, silentLogger } from '../../../support/redis/redis-server.ts'
import { stageRedisStore } from '../../../support/redis/redis-token-stage.ts'
import { testTokenStoreContract } from '../../../support/auth/token-store-contract.ts'
import { VALKEY_SERVER } from '../../../support/redis/valkey.js'

t.test('Valkey satisfies the contracts of the topics and of the token store, as Redis does', async t => {
  const server = await RedisServer.start(t, { command: VALKEY_SERVER })
  t.match(await server.with(client => client.info('server')), /valkey_version:\d/, 'it is Valkey')
  testLogContract(t, async (t, retention = []) => {
    const log = new RedisLog({
      connection: server.url, prefix: `${randomUUID()}:`, retention, commandTimeoutMs: 60_000
    })
    t.teardown(() => log.stop())
    await log.start(silentLogger)
    return log
  })
  testTokenStoreContract(
    t,
    t => stageRedisStore(t, { connection: server.url, prefix: `${randomUUID()}:`, commandTimeoutMs: 60_000 }, [server])
  )
  t.test('with Valkey the log is healthy, with nothing to report', async t => {
    const log = new RedisLog({ connection: server.url, canaryMs: 50, commandTimeoutMs: 60_000 })
    t.teardown(() => log.stop())
    const lines: string[] = []
    await log.start({ ...silentLogger, warn: (_, message) => { lines.push(message) } })
    await until(() => log.isHealthy)
    t.same(lines, [])
    t.equal(log.health.problem, undefined)
  })
})
