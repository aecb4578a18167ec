import { LmdbLog } from '../../plugin/topics/log/lmdb/index.ts'
import type { LmdbLogOptions } from '../../plugin/topics/log/lmdb/index.ts'
import { newEvent, readAll } from './log-contract.ts'
import { silentLogger } from './redis-server.ts'

/** What the process is told to do. */
export type Order =
  | { kind: 'start' }
  | { kind: 'stop' }
  | { kind: 'readAll', topic: string }
  | { kind: 'append', topic: string, data: string[] }
  /** Appends for ever, and says after each what was acknowledged. */
  | { kind: 'appendForEver', topic: string }

/** What it says: the answer to an order, or what was acknowledged. */
export type Said =
  | { kind: 'answer', order: number, value?: unknown, code?: string }
  | { kind: 'acknowledged', entries: { n: number, data: string }[] }

// A process of its own around an LMDB log. It is killed, limited, or run beside another one.

const log = new LmdbLog(JSON.parse(process.argv[2] ?? '') as LmdbLogOptions)
const say = (said: Said): void => { process.send?.(said) }

// A write beyond the limit of file sizes then fails instead of ending the process.
process.on('SIGXFSZ', () => {})
process.on('disconnect', () => { process.exit() })

async function obey (order: Order): Promise<unknown> {
  if (order.kind === 'start') return log.start(silentLogger)
  if (order.kind === 'stop') return log.stop()
  if (order.kind === 'append') return log.append(order.topic, order.data.map(text => newEvent(text)))
  if (order.kind === 'readAll') return readAll(log, order.topic)
  return appendForEver(order.topic)
}

async function appendForEver (topic: string): Promise<void> {
  for (let round = 0; ; round++) {
    const data = Array.from({ length: 1 + round % 5 }, (_, at) => `${round} ${at} `.padEnd(20 + (round * 977) % 9_000, 'x'))
    const { ids } = await log.append(topic, data.map(text => newEvent(text)))
    say({ kind: 'acknowledged', entries: ids.map(({ n }, at) => ({ n, data: data[at]! })) })
  }
}

process.on('message', ({ order, number }: { order: Order, number: number }) => {
  obey(order).then(
    value => { say({ kind: 'answer', order: number, value }) },
    (error: { code?: string, message: string }) => { say({ kind: 'answer', order: number, code: error.code ?? error.message }) }
  )
})
