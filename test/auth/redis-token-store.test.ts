import { randomUUID } from 'node:crypto'
import t from 'tap'
import { RedisServer } from '../support/redis-server.ts'
import { stageRedisStore } from '../support/redis-token-stage.ts'
import { testTokenStoreContract } from '../support/token-store-contract.ts'

t.test('the Redis store keeps the contract', async t => {
  const server = await RedisServer.start(t)
  testTokenStoreContract(t, t => stageRedisStore(t, { connection: server.url, prefix: `${randomUUID()}:` }, [server]))
})
