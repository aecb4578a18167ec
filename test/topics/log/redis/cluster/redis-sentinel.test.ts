import { randomUUID } from 'node:crypto'
import t from 'tap'
import { RedisLog } from '../../../../../plugin/topics/log/redis/index.ts'
import { testLogContract } from '../../../../support/log-contract.ts'
import { MASTER_NAME, SentinelGroup } from '../../../../support/redis/redis-sentinel.ts'
import { silentLogger } from '../../../../support/redis/redis-server.ts'

t.test('the Redis log satisfies the contract behind Sentinels', async t => {
  const group = await SentinelGroup.start(t)
  testLogContract(t, async (t, retention = []) => {
    const log = new RedisLog({
      connection: { sentinels: [...group.sentinels], name: MASTER_NAME },
      prefix: `${randomUUID()}:`,
      retention,
      commandTimeoutMs: 60_000
    })
    t.teardown(() => log.stop())
    await log.start(silentLogger)
    return log
  })
})
