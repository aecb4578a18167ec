import { randomUUID } from 'node:crypto'
import t from 'tap'
import { RedisLog } from '../../plugin/topics/index.ts'
import { testLogContract } from '../support/log-contract.ts'
import { RedisServer, silentLogger } from '../support/redis-server.ts'

t.test('the Redis log keeps the contract', async t => {
  const server = await RedisServer.start(t)
  testLogContract(t, async (t, retention = []) => {
    const log = new RedisLog({ connection: server.url, prefix: `${randomUUID()}:`, retention })
    t.teardown(() => log.stop())
    await log.start(silentLogger)
    return log
  })
})
