import t from 'tap'
import { startRedisStage } from '../support/model/producers/producer-redis-stage.ts'
import { runProducerRounds } from '../support/model/producers/producer-round.ts'
import { seeds } from '../support/model/seeds.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { TcpProxy } from '../support/network/tcp-proxy.ts'

/** Longer than a command may take, and shorter than the lease. */
const OUTAGE_MS = 600

t.test('there is one writer at a time, nothing is lost or repeated, and no reader waits, while producers are killed and stopped and Redis is unavailable', async t => {
  const server = await RedisServer.start(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const proxy = await TcpProxy.start(t, server.port)
  const outage = () => new Promise(resolve => { setTimeout(resolve, OUTAGE_MS) })
  const faults = [
    async () => { proxy.cut() },
    async () => {
      proxy.silence()
      await outage()
      proxy.unsilence()
    },
    async () => {
      server.pause()
      await outage()
      server.unpause()
    },
    async () => {
      await server.kill()
      await server.start()
    }
  ]
  const stage = await startRedisStage(t, { connection: proxy.url, leaseMs: 1_500, faults, isLossy: false })
  t.same(await runProducerRounds(t, [stage], seeds(10)), {})
})
