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
  if (!cluster.isWorker) return
  process.on('message', exitOnStop)
  // A message cannot be sent: the primary was killed, and this process does not know it yet.
  cluster.worker!.on('error', () => { process.exit(1) })
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

/** Whether SIGHUP stops the process, too, as when its terminal closes; otherwise it is not listened for here. */
export interface StopInit { isHangup: boolean }

/**
 * Calls back on the first signal; a second SIGTERM or SIGINT exits immediately. A terminal that closes may send several
 * SIGHUP.
 */
export function stopOnSignals (stop: () => void, { isHangup }: StopInit): void {
  let isStopping = false
  const stopOnce = once(() => {
    isStopping = true
    stop()
  })
  replaceHandlers(() => {
    if (isStopping) process.exit(1)
    stopOnce()
  })
  if (isHangup) process.on('SIGHUP', stopOnce)
}

/**
 * In a worker: calls back once, on the message of the primary or on a signal. Ctrl-C reaches all processes; the primary
 * decides what a second one does.
 */
export function stopOnMessage (stop: () => void, { isHangup }: StopInit): void {
  const stopOnce = once(stop)
  replaceHandlers(stopOnce)
  if (isHangup) process.on('SIGHUP', stopOnce)
  process.on('message', message => { if (message === STOP) stopOnce() })
  process.off('message', exitOnStop)
}

function once (callback: () => void): () => void {
  let isCalled = false
  return () => {
    if (isCalled) return
    isCalled = true
    callback()
  }
}

/** In this order, so that there is always a handler. */
function replaceHandlers (onSignal: () => void): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, onSignal)
    process.off(signal, exit)
  }
}
