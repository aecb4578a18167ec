import cluster from 'node:cluster'

/** The message with which the primary stops its workers. */
export const STOP = 'stop'

/** For a process without clients: there is nothing to end. */
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

/** In this order, so that there is a handler at every moment. */
function replaceHandlers (onSignal: () => void): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, onSignal)
    process.off(signal, exit)
  }
}
