import cluster from 'node:cluster'
import type { Address, Worker } from 'node:cluster'
import { once } from 'node:events'
import Fastify from 'fastify'
import type { FastifyBaseLogger } from 'fastify'
import type { ServiceConfig } from './config.ts'
import { answerWorkers } from './metrics/worker-metrics.ts'
import { STOP, stopOnSignals } from './signals.ts'

/** Before a worker that ended is replaced; doubled after each that ended before it listened. */
const MIN_PAUSE_MS = 100
const MAX_PAUSE_MS = 10_000

/**
 * Runs `config.workers` copies of this process behind one port; settles with the address when all of them listen, and
 * replaces those that end. The first one goes ahead: what keeps it from listening would keep all, and is told once.
 */
export async function runWorkers (config: ServiceConfig): Promise<Address> {
  // Each worker accepts by itself. Node's default deals connections out by the primary, and one that was dealt to a worker
  // that had just died stays open without an answer for ever (Node 20).
  cluster.schedulingPolicy = cluster.SCHED_NONE
  answerWorkers()
  const workers = new Workers(config)
  stopOnSignals(() => { void workers.stop() })
  if (config.tlsCert !== undefined) process.on('SIGHUP', () => workers.signal('SIGHUP'))
  process.on('exit', () => workers.signal('SIGKILL'))
  return workers.start(config.workers)
}

/** The primary's side; it serves nothing by itself. */
class Workers {
  readonly #logger: FastifyBaseLogger
  readonly #running = new Set<Worker>()
  #isStopping = false

  constructor ({ logLevel }: ServiceConfig) {
    // For lines like the workers' own; this instance never listens.
    this.#logger = Fastify({ logger: { level: logLevel } }).log
  }

  async start (count: number): Promise<Address> {
    const first = this.#fork()
    // It has said why; nothing is there to be replaced yet.
    const onExit = (): void => process.exit(1)
    first.once('exit', onExit)
    const [address] = await once(first, 'listening') as [Address]
    first.off('exit', onExit)
    this.#watch(first)
    await Promise.all(Array.from({ length: count - 1 }, () => this.#keepOne()))
    return address
  }

  signal (signal: NodeJS.Signals): void {
    for (const worker of this.#running) worker.process.kill(signal)
  }

  /** Lets all of them drain; the exit code is 0 when theirs are. */
  async stop (): Promise<void> {
    this.#isStopping = true
    const running = [...this.#running]
    const ends = running.map(worker => once(worker, 'exit') as Promise<[number | null]>)
    for (const worker of running) {
      tellToStop(worker)
      // What one hears while it starts may find nobody listening yet.
      worker.once('listening', () => tellToStop(worker))
    }
    const codes = (await Promise.all(ends)).map(([code]) => code)
    process.exit(codes.every(code => code === 0) ? 0 : 1)
  }

  /** Settles when the first of them listens. */
  async #keepOne (pauseMs = MIN_PAUSE_MS): Promise<void> {
    const worker = this.#fork()
    this.#watch(worker, pauseMs)
    await new Promise(resolve => { worker.once('listening', resolve) })
  }

  #fork (): Worker {
    const worker = cluster.fork()
    this.#running.add(worker)
    // A message to one that has just died; unheard, the error would end the primary, and all the others with it.
    worker.on('error', err => this.#logger.warn({ err }, 'a worker could not be told'))
    worker.once('exit', () => this.#running.delete(worker))
    return worker
  }

  #watch (worker: Worker, pauseMs = MIN_PAUSE_MS): void {
    let nextPauseMs = Math.min(MAX_PAUSE_MS, 2 * pauseMs)
    worker.once('listening', () => { nextPauseMs = MIN_PAUSE_MS })
    worker.once('exit', (code: number | null, signal: NodeJS.Signals | null) => {
      if (this.#isStopping) return
      this.#logger.warn({ worker: worker.process.pid, code, signal, pauseMs }, 'a worker ended, another one takes its place')
      setTimeout(() => { if (!this.#isStopping) void this.#keepOne(nextPauseMs) }, pauseMs)
    })
  }
}

/** One that is ending by itself takes no message any more. */
function tellToStop (worker: Worker): void {
  worker.send(STOP, () => {})
}
