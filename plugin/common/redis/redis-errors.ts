/** The message of ioredis for a command that was not answered in time. */
export const TIMED_OUT = 'Command timed out'
/** The message of ioredis for every command on a closed connection, whether or not it had been sent. */
export const CLOSED = 'Connection is closed.'

/** True if Redis answered with an error; false if there was no answer. */
export function isReplyError ({ name }: Error): boolean {
  return name === 'ReplyError'
}

/** True if the server as a whole rejects writes, or rejects those of this user; false for an error of a single key. */
export function isWriteRefusal (error: Error): boolean {
  return isReplyError(error) && /^(OOM|READONLY|MISCONF|NOREPLICAS|NOPERM)\b/.test(error.message)
}

/**
 * The reason that Redis or the network gave, on one line; ioredis puts the reason of a cluster node into
 * `lastNodeError`.
 */
export function reasonOf (error: Error & { lastNodeError?: Error | null, errors?: Error[] }): string {
  const { message } = error.lastNodeError ?? error.errors?.[0] ?? error
  return message === '' ? error.name : message
}

/**
 * True for the message of a command that was not sent because there was no connection; redirections are answered before
 * a command is executed.
 */
export function isNotSent (message: string): boolean {
  return /^Stream isn't writeable|^Cluster isn't ready|^Failed to refresh slots cache|^None of startup nodes|^Too many Cluster redirections/.test(
    message
  )
}

/** True for the message of a command whose connection was lost before it was answered. */
export function isCutOff (message: string): boolean {
  return /^Connection is closed|^Reached the max retries|^Command aborted/.test(message)
}
