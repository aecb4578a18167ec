import cluster from 'node:cluster'
import type { Address, Worker } from 'node:cluster'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import type { FastifyBaseLogger } from 'fastify'
import { CommandError } from './command.ts'
import type { ServiceConfig } from '../config/config.ts'
import { LogOutput } from '../http/log-output.ts'
import { answerWorkers } from '../metrics/worker-metrics.ts'
import { STOP, stopOnSignals } from './signals.ts'

/**
 * The pause before a worker that exited is replaced; doubled each time one exits before it listens, or cannot be
 * started.
 */
const MIN_PAUSE_MS = 100
const MAX_PAUSE_MS = 10_000

/** How long a worker may take in addition to its drain; after that it is considered hung. */
const MAX_END_MS = 3_000
const MAX_TIMER_MS = 2_147_483_647

/**
 * Runs `config.workers` copies of this process on one port, and replaces those that exit. Resolves to the address when
 * all of them listen. The first worker starts alone: whatever keeps it from listening would keep all of them from it,
 * and is reported once. Rejects with a `CommandError` when the system cannot start even that one.
 */
export async function runWorkers (config: ServiceConfig): Promise<Address> {
  // Each worker accepts connections by itself. By default the primary distributes them, and a connection that was
  // handed to a worker that has just died stays open indefinitely without a response (Node 20).
  cluster.schedulingPolicy = cluster.SCHED_NONE
  answerWorkers()
  const workers = new Workers(config)
  const isHangup = config.tlsCert === undefined
  stopOnSignals(() => { void workers.stop() }, { isHangup })
  if (!isHangup) process.on('SIGHUP', () => workers.renew())
  process.on('exit', () => workers.kill())
  return workers.start(config.workers)
}

interface Exit { code: number | null, signal: NodeJS.Signals | null }

/** How a worker exited, as it is logged; only `err` if it could not be started. */
type End = Exit & { worker: number | undefined } | { err: unknown }

type OnListening = (address: Address) => void

/** The workers as the primary sees them; the primary itself serves no requests. */
class Workers {
  readonly #logger: FastifyBaseLogger
  readonly #running = new Set<Worker>()
  /** The running workers that do not listen yet. */
  readonly #starting = new Set<Worker>()
  readonly #maxStopMs: number
  #hasListened = false
  #isStopping = false

  constructor ({ logLevel, drainDelayMs, drainMs }: ServiceConfig) {
    // For log lines like those of the workers; this instance never listens.
    this.#logger = Fastify({ logger: { level: logLevel, stream: new LogOutput() } }).log
    this.#maxStopMs = Math.min(MAX_TIMER_MS, drainDelayMs + drainMs + MAX_END_MS)
  }

  async start (count: number): Promise<Address> {
    const address = await this.#fill()
    await Promise.all(Array.from({ length: count - 1 }, () => this.#fill()))
    return address
  }

  kill (): void {
    for (const worker of this.#running) worker.process.kill('SIGKILL')
  }

  /** Lets all workers read the certificate again. One that does not listen yet would be ended by the signal. */
  renew (): void {
    for (const worker of this.#running) {
      const send = (): void => { worker.process.kill('SIGHUP') }
      if (this.#starting.has(worker)) worker.once('listening', send)
      else send()
    }
  }

  /**
   * Drains all workers. Exits with 0 if all of them exited cleanly, and with 1 if one of them hangs, which is then
   * killed.
   */
  async stop (): Promise<void> {
    this.#isStopping = true
    setTimeout(() => this.#exitWithoutWaiting(), this.#maxStopMs)
    const areClean = await Promise.all([...this.#running].map(worker => this.#stopOne(worker)))
    process.exit(areClean.every(isClean => isClean) ? 0 : 1)
  }

  /** The remaining workers are killed together with this process. */
  #exitWithoutWaiting (): void {
    const workers = [...this.#running].map(worker => worker.process.pid)
    this.#logger.error({ workers, afterMs: this.#maxStopMs }, 'workers did not exit in time and are killed')
    process.exit(1)
  }

  /** Resolves to whether the worker exited cleanly: after its drain, or before it served any client. */
  async #stopOne (worker: Worker): Promise<boolean> {
    const isStarting = this.#starting.has(worker)
    const send = (): void => { worker.send(STOP, () => {}) }
    send()
    // A worker that has just started may not receive the first message.
    worker.once('listening', send)
    const exit = await exitOf(worker)
    return isStarting ? wasStopped(exit) : exit.code === 0
  }

  /** Adds a slot for a worker, which is kept filled; resolves when the first worker in it listens. */
  #fill (): Promise<Address> {
    return new Promise((resolve, reject) => { this.#keep(resolve).catch(reject) })
  }

  /**
   * Keeps a slot filled, with one worker after another, until all workers are stopped; calls back for each that
   * listens.
   */
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
      this.#logger.warn({ ...end, pauseMs }, 'err' in end
        ? 'a worker could not be started; trying again'
        : 'a worker exited; starting a replacement')
      await pause(pauseMs)
      pauseMs = Math.min(MAX_PAUSE_MS, 2 * pauseMs)
    }
  }

  /** Runs one worker; resolves when it has ended, and calls back when it listens. */
  async #run (onListening: OnListening): Promise<End> {
    try {
      const worker = await fork()
      this.#running.add(worker)
      this.#starting.add(worker)
      worker.once('listening', address => {
        this.#starting.delete(worker)
        onListening(address)
      })
      // The message may be for a worker that has just died; an unhandled 'error' would end the primary, and all other
      // workers with it.
      worker.on('error', err => this.#logger.warn({ err }, 'a message could not be sent to a worker'))
      const exit = await exitOf(worker)
      this.#running.delete(worker)
      this.#starting.delete(worker)
      return { worker: worker.process.pid, ...exit }
    } catch (err) {
      return { err }
    }
  }
}

/**
 * Rejects when the system cannot start a process, which Node reports by throwing or by an event, depending on the
 * cause.
 */
async function fork (): Promise<Worker> {
  const worker = cluster.fork()
  if (worker.process.pid !== undefined) return worker
  const [error] = await once(worker, 'error') as [Error]
  throw error
}

/** Ends the primary because its first worker ended; a worker that ran has logged the cause. */
function giveUp (end: End): never {
  if ('err' in end) throw new CommandError(`no worker can be started: ${(end.err as Error).message}`)
  process.exit(wasStopped(end) ? 0 : 1)
}

/** True for a worker that was stopped during its start, and may not have had a signal handler yet. */
function wasStopped ({ code, signal }: Exit): boolean {
  return code === 0 || signal === 'SIGTERM' || signal === 'SIGINT'
}

/**
 * Not `once` of node:events, which rejects at the first 'error': a message that could not be sent does not mean that
 * the worker exited.
 */
function exitOf (worker: Worker): Promise<Exit> {
  return new Promise(resolve => {
    worker.once('exit', (code: number | null, signal: NodeJS.Signals | null) => resolve({ code, signal }))
  })
}
