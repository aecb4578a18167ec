import { LmdbLog } from '../../../../plugin/topics/log/lmdb/index.ts'
import type { LmdbLogOptions } from '../../../../plugin/topics/log/lmdb/index.ts'
import { RedisLog } from '../../../../plugin/topics/log/redis/index.ts'
import type { RedisLogOptions } from '../../../../plugin/topics/log/redis/index.ts'
import { silentLogger } from '../../redis/redis-server.ts'
import { ProducerNode } from './producer-node.ts'
import type { NodeSaid } from './producer-node.ts'

/** The log that the process opens. */
export type LogChoice = { lmdb: LmdbLogOptions } | { redis: RedisLogOptions }

/** A call of a method of the node, and the messages of the process: the result of a call, or another message. */
export interface Call { number: number, method: 'produce' | 'read' | 'lease' | 'ends' | 'entries', args: unknown[] }
export type ProgramSaid = NodeSaid | {
  kind: 'ready'
} | { kind: 'answer', call: number, value?: unknown, error?: string }

// A separate process with producers and readers. It is killed and stopped by signals.

const choice = JSON.parse(process.argv[2] ?? '') as LogChoice
const log = 'lmdb' in choice ? new LmdbLog(choice.lmdb) : new RedisLog(choice.redis)
const say = (said: ProgramSaid): void => { if (process.connected) process.send?.(said) }
const node = new ProducerNode(log, say)

process.on('disconnect', () => { process.exit() })
process.on('message', ({ number, method, args }: Call) => {
  const call = node[method].bind(node) as (...args: unknown[]) => Promise<unknown>
  // JSON has null for missing values.
  call(...args.map(arg => arg ?? undefined)).then(
    value => { say({ kind: 'answer', call: number, value }) },
    (error: unknown) => { say({ kind: 'answer', call: number, error: String(error) }) }
  )
})

await log.start(silentLogger)
say({ kind: 'ready' })
