/** What the primary tells its workers, as a message. */
export const STOP = 'stop'

/** The first SIGTERM or SIGINT calls back; the second exits at once. */
export function stopOnSignals (stop: () => void): void {
  let isStopping = false
  const onSignal = (): void => {
    if (isStopping) process.exit(1)
    isStopping = true
    stop()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
}

/** In a worker: calls back once, at the primary's word or at a signal. Ctrl-C reaches all processes, a second one is for the primary. */
export function stopWhenTold (stop: () => void): void {
  let isStopping = false
  const stopOnce = (): void => {
    if (isStopping) return
    isStopping = true
    stop()
  }
  process.on('message', message => { if (message === STOP) stopOnce() })
  process.on('SIGTERM', stopOnce)
  process.on('SIGINT', stopOnce)
}
