/** The part of a logger that reports failed callbacks. */
export interface CallbackLogger {
  error: (details: object, message: string) => void
}

/**
 * Calls a callback of the application; its exception, or the rejection of a promise it returns, is logged and affects
 * nothing else. Returns `instead` after an exception. `what` names the callback in the log, such as `onClose callback`.
 */
export function guardCallback<T> (
  log: CallbackLogger, what: string, callback: () => T, instead?: T
): T | undefined {
  const failed = (err: unknown): void => { log.error({ err }, `the ${what} failed`) }
  try {
    const result = callback()
    if (typeof result === 'object' && result !== null && 'then' in result) Promise.resolve(result).catch(failed)
    return result
  } catch (err) {
    failed(err)
    return instead
  }
}
