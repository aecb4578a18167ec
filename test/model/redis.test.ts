import t from 'tap'
import { runRedisSchedule, singleServerStage } from '../support/model/redis-schedule.ts'
import { seeds, whatIsWrong } from '../support/model/seeds.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { TcpProxy } from '../support/network/tcp-proxy.ts'

t.test('every client receives every event once and in order, or a gap for what it missed, while Redis is killed, paused and cut off', async t => {
  const server = await RedisServer.start(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const stage = singleServerStage(server, await TcpProxy.start(t, server.port))
  t.same(await whatIsWrong(seeds(30), seed => runRedisSchedule(stage, seed)), {})
})
