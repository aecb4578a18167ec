import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { serveCalls } from '../harness/rpc.ts'
import type { Handlers } from '../harness/rpc.ts'

const delays = monitorEventLoopDelay({ resolution: 1 })

/** Answers the calls that all servers under test have in common, and those of this one. */
export function answerCalls (server: Server, others: Handlers = {}): void {
  serveCalls({
    ready: () => true,
    port: () => (server.address() as AddressInfo).port,
    memory,
    watchLoop: () => {
      delays.reset()
      delays.enable()
    },
    loopDelay,
    ...others
  })
}

/** The memory of this process in bytes, after a collection: the used heap and the buffers outside of it. */
async function memory (): Promise<number> {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.()
    await turn()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** The longest tick of the event loop since `watchLoop`, in ms. */
function loopDelay (): number {
  delays.disable()
  return delays.max / 1e6
}
