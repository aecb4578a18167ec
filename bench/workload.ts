import { setImmediate as turn } from 'node:timers/promises'

/**
 * Told to a server under test. `prepare` puts events there for clients to catch up with; `publish` sends them live, spread
 * over the topics; `rate` publishes them one by one; `memory` asks what the process holds.
 */
export type ServerOrder =
  | { kind: 'prepare' | 'publish', topics: string[], events: number, batch: number, marker: string }
  | { kind: 'rate', what: 'topics' | 'xadd', topic: string, events: number }
  | { kind: 'memory' }

export type ServerNews =
  | { kind: 'listening', port: number }
  | { kind: 'prepared', lastEventId: string | undefined }
  | { kind: 'rated', seconds: number }
  | { kind: 'memory', bytes: number }

/** 100 bytes of data: a line of JSON as a dashboard or a score board would get. */
const PADDING = 'x'.repeat(76)

/** The data of one event; the last one carries the marker. */
export function dataOf (n: number, marker: string | undefined): string {
  return `{"n":${String(n).padStart(7, '0')},"p":"${PADDING}"${marker === undefined ? '' : `,"m":"${marker}"`}}`
}

/** The frame as the topics write it, so that all servers move the same bytes. */
export function frameOf (n: number, marker: string | undefined): Buffer {
  return Buffer.from(`id: ${STARTED}-${n}\ndata: ${dataOf(n, marker)}\n\n`)
}

const STARTED = Date.now()

/** Tells what this process holds after it has let go of what it can: the heap in use and what lies outside of it. */
export async function answerMemory (): Promise<void> {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.()
    await turn()
  }
  const { heapUsed, external } = process.memoryUsage()
  process.send?.({ kind: 'memory', bytes: heapUsed + external } satisfies ServerNews)
}
