import cluster from 'node:cluster'
import type { Address, Worker } from 'node:cluster'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import type { FastifyBaseLogger } from 'fastify'
import { CommandError } from './command.ts'
import type { ServiceConfig } from '../config/config.ts'
import { answerWorkers } from '../metrics/worker-metrics.ts'
import { STOP, stopOnSignals } from './signals.ts'

/** Before a worker that ended is replaced; doubled after each that ended before it listened, or could not be started. */
const MIN_PAUSE_MS = 100
const MAX_PAUSE_MS = 10_000

/** What a worker may take beyond its drain: one that takes longer hangs. */
const MAX_END_MS = 3_000
const MAX_TIMER_MS = 2_147_483_647

/**
 * Runs `config.workers` copies of this process behind one port; settles with the address when all of them listen, and
 * replaces those that end. The first one goes ahead: what keeps it from listening would keep all, and is told once.
 * Rejects with a `CommandError` when the system starts not even that one.
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

/** How a worker came to its end, as it is logged; `err` alone when it could not even be started. */
type End = { worker: number | undefined, code: number | null, signal: NodeJS.Signals | null } | { err: unknown }

type OnListening = (address: Address) => void

/** The primary's side; it serves nothing by itself. */
class Workers {
  readonly #logger: FastifyBaseLogger
  readonly #running = new Set<Worker>()
  readonly #maxStopMs: number
  #hasListened = false
  #isStopping = false

  constructor ({ logLevel, drainDelayMs, drainMs }: ServiceConfig) {
    // For lines like the workers' own; this instance never listens.
    this.#logger = Fastify({ logger: { level: logLevel } }).log
    this.#maxStopMs = Math.min(MAX_TIMER_MS, drainDelayMs + drainMs + MAX_END_MS)
  }

  async start (count: number): Promise<Address> {
    const address = await this.#fill()
    await Promise.all(Array.from({ length: count - 1 }, () => this.#fill()))
    return address
  }

  signal (signal: NodeJS.Signals): void {
    for (const worker of this.#running) worker.process.kill(signal)
  }

  /** Lets all of them drain; the exit code is 0 when theirs are, and 1 when one of them hangs, which is killed. */
  async stop (): Promise<void> {
    this.#isStopping = true
    setTimeout(() => this.#exitWithoutWaiting(), this.#maxStopMs)
    const codes = await Promise.all([...this.#running].map(stopOne))
    process.exit(codes.every(code => code === 0) ? 0 : 1)
  }

  /** Those that are left are killed with this process. */
  #exitWithoutWaiting (): void {
    const workers = [...this.#running].map(worker => worker.process.pid)
    this.#logger.error({ workers, afterMs: this.#maxStopMs }, 'workers did not end in time and are killed')
    process.exit(1)
  }

  /** Settles when a worker of a new place listens; the place is kept from then on. */
  #fill (): Promise<Address> {
    return new Promise((resolve, reject) => { this.#keep(resolve).catch(reject) })
  }

  /** Keeps a place taken, by one worker after another, until all are to stop; calls back for each that listens. */
  async #keep (onListening: OnListening): Promise<void> {
    let pauseMs = MIN_PAUSE_MS
    while (!this.#isStopping) {
      const end = await this.#run(address => {
        this.#hasListened = true
        pauseMs = MIN_PAUSE_MS
        onListening(address)
      })
      if (this.#isStopping) return
      if (!this.#hasListened) giveUp(end)
      this.#logger.warn({ ...end, pauseMs }, 'err' in end ? 'a worker could not be started, it is tried again' : 'a worker ended, another one takes its place')
      await pause(pauseMs)
      pauseMs = Math.min(MAX_PAUSE_MS, 2 * pauseMs)
    }
  }

  /** Runs one worker; settles with its end, and calls back when it listens. */
  async #run (onListening: OnListening): Promise<End> {
    try {
      const worker = await fork()
      this.#running.add(worker)
      worker.once('listening', onListening)
      // A message to one that has just died; unheard, the error would end the primary, and all the others with it.
      worker.on('error', err => this.#logger.warn({ err }, 'a worker could not be told'))
      const [code, signal] = await exitOf(worker)
      this.#running.delete(worker)
      return { worker: worker.process.pid, code, signal }
    } catch (err) {
      return { err }
    }
  }
}

/** Rejects when the system gives no process, which Node tells by a throw or by an event, depending on why. */
async function fork (): Promise<Worker> {
  const worker = cluster.fork()
  if (worker.process.pid !== undefined) return worker
  const [error] = await once(worker, 'error') as [Error]
  throw error
}

/** At the start: a worker that ran has said why it ended. */
function giveUp (end: End): never {
  if ('err' in end) throw new CommandError(`no worker can be started: ${(end.err as Error).message}`)
  process.exit(1)
}

/** Settles with the exit code. One that is ending by itself takes no message any more. */
async function stopOne (worker: Worker): Promise<number | null> {
  const tell = (): void => { worker.send(STOP, () => {}) }
  tell()
  // What one hears while it starts may find nobody listening yet.
  worker.once('listening', tell)
  return (await exitOf(worker))[0]
}

/** Not by `once` of node:events, which rejects at the first 'error': a message that could not be sent is not the end. */
function exitOf (worker: Worker): Promise<[code: number | null, signal: NodeJS.Signals | null]> {
  return new Promise(resolve => { worker.once('exit', (code: number | null, signal: NodeJS.Signals | null) => resolve([code, signal])) })
}
