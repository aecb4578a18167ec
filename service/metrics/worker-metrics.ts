import cluster from 'node:cluster'
import { AggregatorRegistry } from 'prom-client'
import type { Registry } from 'prom-client'
import { errors } from '../errors.ts'

// Any worker can report the totals: it asks the primary, which asks all workers.
//
//   GET /metrics ─▶ worker ──question──▶ primary ──prom-client──▶ every worker
//                   worker ◀───answer─── primary ◀──────────────── its metrics

const KIND = 'resumable-sse:metrics'

interface Question { type: typeof KIND, id: number }
interface Answer extends Question { text?: string, problem?: string }

const isOurs = (message: unknown): message is Question => (message as Partial<Question>).type === KIND

/** In the primary: collects the metrics of all workers for the worker that asks. */
export function answerWorkers (): void {
  const all = new AggregatorRegistry()
  cluster.on('message', (worker, question: unknown) => {
    if (!isOurs(question)) return
    const answer = (rest: Partial<Answer>): void => { worker.send({ ...question, ...rest }, ignore) }
    all.clusterMetrics().then(text => answer({ text }), (error: Error) => answer({ problem: error.message }))
  })
}

/** The message may be for a process that has just exited. */
const ignore = (): void => {}

/**
 * Returns the function that reports the metrics of a registry: its own if the process is the only one, those of all
 * workers (through the primary) if it is a worker.
 */
export function tellerOf (registry: Registry): () => Promise<string> {
  if (!cluster.isWorker) return () => registry.metrics()
  AggregatorRegistry.setRegistries(registry)
  // Registers the listener with which this process answers the primary.
  void new AggregatorRegistry()
  let asked = 0
  let asking: Promise<Answer> | undefined
  return async () => {
    // Concurrent requests share the answer, because each one requires work from all workers.
    asking ??= ask(++asked).finally(() => { asking = undefined })
    const { text, problem } = await asking
    if (text === undefined) throw new errors.SERVICE_METRICS_INCOMPLETE(problem)
    return text
  }
}

/** Always settles: the primary always answers, and this process ends with it. */
function ask (id: number): Promise<Answer> {
  return new Promise(resolve => {
    const take = (message: unknown): void => {
      if (!isOurs(message) || message.id !== id) return
      process.off('message', take)
      resolve(message)
    }
    process.on('message', take)
    process.send!({ type: KIND, id } satisfies Question)
  })
}
