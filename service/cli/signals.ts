import cluster from 'node:cluster'
import { constants } from 'node:os'

/** The message with which the primary stops its workers. */
export const STOP = 'stop'

/** For a process without clients: nothing needs to be closed. */
const exit = (): void => { process.exit(0) }
const exitOnStop = (message: unknown): void => { if (message === STOP) exit() }

/**
 * From this call until `stopOnSignals` or `stopOnMessage`, SIGTERM and SIGINT end the process with exit code 0. Without
 * a handler the process would be killed by the signal or, as the first process of a container, ignore it.
 */
export function exitOnSignals (): void {
  process.on('SIGTERM', exit)
  process.on('SIGINT', exit)
  if (cluster.isWorker) process.on('message', exitOnStop)
}

/** As `Terminal.catchSignals` says. Exit codes are those of a shell: 128 and the number of the signal. */
export function catchSignals (): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(exitCodeOf(name))
      controller.abort(name)
    })
  }
  return controller.signal
}

/** What a shell reports of a program that this signal ended. */
export function exitCodeOf (name: NodeJS.Signals): number {
  return 128 + constants.signals[name]
}

/** Calls back on the first SIGTERM or SIGINT; the second one exits immediately. */
export function stopOnSignals (stop: () => void): void {
  let isStopping = false
  replaceHandlers(() => {
    if (isStopping) process.exit(1)
    isStopping = true
    stop()
  })
}

/**
 * In a worker: calls back once, on the message of the primary or on a signal. Ctrl-C reaches all processes; the primary
 * decides what a second one does.
 */
export function stopOnMessage (stop: () => void): void {
  let isStopping = false
  const stopOnce = (): void => {
    if (isStopping) return
    isStopping = true
    stop()
  }
  replaceHandlers(stopOnce)
  process.on('message', message => { if (message === STOP) stopOnce() })
  process.off('message', exitOnStop)
}

/** In this order, so that there is always a handler. */
function replaceHandlers (onSignal: () => void): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, onSignal)
    process.off(signal, exit)
  }
}
