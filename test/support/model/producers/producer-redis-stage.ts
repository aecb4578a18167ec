import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import type { RedisLogOptions } from '../../../../plugin/topics/log/redis/index.ts'
import { silentLogger } from '../../redis/redis-server.ts'
import { LocalHost } from './producer-host.ts'
import type { NodeSaid } from './producer-node.ts'
import { ProducerProcess } from './producer-process.ts'
import type { ProducerStage } from './producer-round.ts'
import { COMMAND_TIMEOUT_MS } from '../redis-schedule.ts'

type Given = Pick<ProducerStage, 'leaseMs' | 'faults' | 'isLossy'> & Pick<RedisLogOptions, 'connection' | 'replicas'>

/** Two processes with producers; the reader is in the process of the test. */
export async function startRedisStage (
  t: Test,
  { connection, replicas = 0, ...given }: Given,
  prefix = `${randomUUID()}:`
): Promise<ProducerStage> {
  const options: RedisLogOptions = { connection, prefix, replicas, commandTimeoutMs: COMMAND_TIMEOUT_MS, canaryMs: 100 }
  const hear = (said: NodeSaid): void => { stage.hear(said) }
  const log = new RedisLog(options)
  await log.start(silentLogger)
  t.teardown(() => log.stop())
  const hosts = await Promise.all([1, 2].map(() => ProducerProcess.start(t, { redis: options }, hear)))
  const stage: ProducerStage = {
    ...given, hear: () => {}, hosts: [hosts[0]!, hosts[1]!], reader: new LocalHost(log, hear), ended: {}
  }
  return stage
}
