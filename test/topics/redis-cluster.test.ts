import { randomUUID } from 'node:crypto'
import t from 'tap'
import { RedisLog } from '../../topics/index.ts'
import { testLogContract } from '../support/log-contract.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { silentLogger } from '../support/redis-server.ts'

t.test('the Redis log keeps the contract on a cluster', async t => {
  const servers = await startCluster(t)
  testLogContract(t, async (t, retention = []) => {
    const log = new RedisLog({ connection: { cluster: servers.slice(0, 2).map(({ port }) => ({ host: '127.0.0.1', port })) }, prefix: `${randomUUID()}:`, retention })
    t.teardown(() => log.stop())
    await log.start(silentLogger)
    return log
  })
})
