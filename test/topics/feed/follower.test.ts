import t from 'tap'
import { deferred } from '../../../plugin/common/deferred.ts'
import { TopicFollower } from '../../../plugin/topics/feed/follower.ts'
import { NO_OBSERVER } from '../../../plugin/topics/observer.ts'
import { MemoryLog } from '../../../plugin/topics/log/memory-log.ts'
import { silentLogger } from '../../support/redis/redis-server.ts'

const LEASE_MS = 200

/** A log of a process that is suspended before it receives how long a lease is still valid. */
class SuspendedLog extends MemoryLog {
  readonly queried = deferred<void>()

  override async follow (...args: Parameters<MemoryLog['follow']>): ReturnType<MemoryLog['follow']> {
    const ends = await super.follow(...args)
    const end = performance.now() + LEASE_MS + 100
    while (performance.now() < end);
    return ends
  }

  override async lease (...args: Parameters<MemoryLog['lease']>): ReturnType<MemoryLog['lease']> {
    this.queried.settle()
    return super.lease(...args)
  }
}

t.test('a lease that expired while this process was suspended is queried at once', async t => {
  const log = new SuspendedLog()
  await log.start(silentLogger)
  await MemoryLog.prototype.lease.call(log, 'a', { do: 'take', holder: 'p', leaseMs: LEASE_MS, takeOver: false })
  const follower = new TopicFollower('a', log, {
    onTrouble: () => {}, onResync: () => {}, onStop: () => {}, observer: NO_OBSERVER
  })
  await follower.start()
  t.teardown(() => { follower.stop() })
  // Timers of one process fire in the order of their times.
  const first = await Promise.race([
    log.queried.promise.then(() => 'queried'),
    new Promise(resolve => { setTimeout(resolve, LEASE_MS / 2, 'waited for the lease again') })
  ])
  t.equal(first, 'queried')
})
