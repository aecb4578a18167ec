import { Cluster } from 'ioredis'
import { RedisTokenStore } from '../../../plugin/auth/one-time/redis-token-store.ts'
import { RedisLog } from '../../../plugin/topics/log/redis/index.ts'
import { Recorder } from '../log-contract.ts'
import { silentLogger } from './redis-server.ts'

// A separate process that uses a log or a token store on a cluster, stops it while it is asking the cluster for its
// slots, and must then exit by itself.

const [, , what, nodes] = process.argv
const options = {
  connection: { cluster: JSON.parse(nodes!) as { host: string, port: number }[] }, commandTimeoutMs: 60_000
}
let stop: (() => Promise<void>) | undefined

const refresh = Cluster.prototype.refreshSlotsCache
Cluster.prototype.refreshSlotsCache = function (this: Cluster, ...args) {
  refresh.apply(this, args)
  void stop?.()
  // Only once: a second stop would clear the timer that the first one left behind.
  stop = undefined
}

if (what === 'log') {
  const log = new RedisLog(options)
  await log.start(silentLogger)
  await log.follow('a', new Recorder())
  stop = () => log.stop()
} else {
  const store = new RedisTokenStore(options)
  await store.start(() => {}, silentLogger)
  await store.revokedSubjects()
  stop = () => store.stop()
}
