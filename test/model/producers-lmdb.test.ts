import t from 'tap'
import type { NodeSaid } from '../support/model/producers/producer-node.ts'
import { ProducerProcess } from '../support/model/producers/producer-process.ts'
import { runProducerRounds } from '../support/model/producers/producer-round.ts'
import type { ProducerStage } from '../support/model/producers/producer-round.ts'
import { seeds } from '../support/model/seeds.ts'

/** Two producers and the reader in one process, the owner of the files, which is killed and stopped. */
t.test('there is one writer at a time, nothing is lost or repeated, and no reader waits, while their process is killed and stopped', async t => {
  const hear = (said: NodeSaid): void => { stage.hear(said) }
  const host = await ProducerProcess.start(t, { lmdb: { folder: t.testdir(), durability: 'process' } }, hear)
  const stage: ProducerStage = {
    hear: () => {}, hosts: [host, host], reader: host, isLossy: false, leaseMs: 1_000, faults: [], ended: {}
  }
  t.same(await runProducerRounds(t, [stage], seeds(8)), {})
})
