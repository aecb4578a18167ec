import t from 'tap'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { LocalHost, shared } from '../support/model/producers/producer-host.ts'
import { runProducerRounds } from '../support/model/producers/producer-round.ts'
import type { ProducerStage } from '../support/model/producers/producer-round.ts'
import { firstSeeds, seeds } from '../support/model/seeds.ts'

const LANES = 10

function memoryStage (log: MemoryLog): ProducerStage {
  const all = shared(log)
  const host = (): LocalHost => new LocalHost(all, said => { stage.hear(said) })
  const stage: ProducerStage = {
    hear: () => {}, hosts: [host(), host()], reader: host(), isLossy: false, leaseMs: 600, faults: [], ended: {}
  }
  return stage
}

t.test('there is one writer at a time, nothing is lost or repeated, and no reader waits, while producers are cut off and delayed', async t => {
  const stages = Array.from({ length: LANES }, () => memoryStage(new MemoryLog()))
  t.same(await runProducerRounds(t, stages, seeds(40)), {})
})

// A model test that cannot fail shows nothing: each promise is broken in turn.
const BROKEN: Record<string, [sabotage: (log: MemoryLog) => void, noticed: RegExp]> = {
  'an append that ignores the fencing number': [log => {
    const [append, lease] = [log.append.bind(log), log.lease.bind(log)]
    log.append = async (topic, events, options) => {
      const { fence, accepted } = await lease(topic, { do: 'look' })
      return append(topic, events, options?.lease && { lease: { fence, accepted } })
    }
  }, /writes after|comes after/],
  'an append that is acknowledged and lost': [log => {
    const append = log.append.bind(log)
    let count = 0
    log.append = (topic, events, options) => ++count % 5 === 0
      ? Promise.resolve({ ids: [], isRepeat: false })
      : append(topic, events, options)
  }, /comes after|were acknowledged/],
  'an append that is repeated although it succeeded': [log => {
    const append = log.append.bind(log)
    log.append = async (topic, events, options) => {
      const appended = await append(topic, events, options)
      if (!appended.isRepeat) await append(topic, events).catch(() => {})
      return appended
    }
  }, /comes after/],
  'a stop that ignores the fencing number': [log => {
    const lease = log.lease.bind(log)
    log.lease = (topic, request) => lease(topic, request.do === 'stop' ? { ...request, fence: undefined } : request)
  }, /a stale stop was granted/],
  'an end that ignores the fencing number': [log => {
    const lease = log.lease.bind(log)
    log.lease = async (topic, request) => lease(
      topic,
      request.do === 'end' ? { ...request, fence: (await lease(topic, { do: 'look' })).fence } : request
    )
  }, /the writer/],
  'a lease that expires without closing the topic': [log => {
    const lease = log.lease.bind(log)
    log.lease = async (topic, request) => {
      const reply = await lease(topic, request)
      if (reply.reason === 'lost') await log.delete(topic)
      return reply.reason === 'lost' ? { ...reply, outcome: 'none', isClosed: false, reason: undefined } : reply
    }
  }, /the lease is gone, and the topic is open/]
}
for (const [what, [sabotage, noticed]] of Object.entries(BROKEN)) {
  t.test(`${what} is detected`, async t => {
    const logs = Array.from({ length: LANES }, () => new MemoryLog())
    for (const log of logs) sabotage(log)
    const wrong = await runProducerRounds(t, logs.map(memoryStage), firstSeeds(20), 1, noticed)
    t.not(Object.keys(wrong).length, 0)
  })
}
