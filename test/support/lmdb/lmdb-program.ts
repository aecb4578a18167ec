import { LmdbLog } from '../../../plugin/topics/log/lmdb/index.ts'
import type { LmdbLogOptions } from '../../../plugin/topics/log/lmdb/index.ts'
import { newEvent, readAll } from '../log-contract.ts'
import { silentLogger } from '../redis/redis-server.ts'

/** An order to the process. */
export type Order =
  | { kind: 'start' }
  | { kind: 'stop' }
  | { kind: 'readAll', topic: string }
  | { kind: 'append', topic: string, data: string[] }
  /** Appends indefinitely, and reports each acknowledgement. */
  | { kind: 'appendForEver', topic: string }

/** A message of the process: the result of an order, or an acknowledgement. */
export type Said =
  | { kind: 'answer', order: number, value?: unknown, code?: string }
  | { kind: 'acknowledged', entries: { n: number, data: string }[] }

// A separate process with an LMDB log. It is killed, limited, or run in parallel with another one.

const log = new LmdbLog(JSON.parse(process.argv[2] ?? '') as LmdbLogOptions)
const say = (said: Said): void => { process.send?.(said) }

// Makes a write beyond the file size limit fail instead of ending the process.
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
    const data = Array.from(
      { length: 1 + round % 5 },
      (_, at) => `${round} ${at} `.padEnd(20 + (round * 977) % 9_000, 'x')
    )
    const { ids } = await log.append(topic, data.map(text => newEvent(text)))
    say({ kind: 'acknowledged', entries: ids.map(({ n }, at) => ({ n, data: data[at]! })) })
  }
}

process.on('message', ({ order, number }: { order: Order, number: number }) => {
  obey(order).then(
    value => { say({ kind: 'answer', order: number, value }) },
    (error: { code?: string, message: string }) => {
      say({ kind: 'answer', order: number, code: error.code ?? error.message })
    }
  )
})
