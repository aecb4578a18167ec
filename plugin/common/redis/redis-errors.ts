/** What ioredis says when there was no answer in time. */
export const TIMED_OUT = 'Command timed out'
/**
 * What ioredis says of every command on a connection that is closed, of those that were sent and of those that were
 * not.
 */
export const CLOSED = 'Connection is closed.'

/** True when Redis answered with an error; false where there was no answer. */
export function isReplyError ({ name }: Error): boolean {
  return name === 'ReplyError'
}

/**
 * The reason that Redis or the network gave, in one line; ioredis puts that of a cluster's nodes into `lastNodeError`.
 */
export function reasonOf (error: Error & { lastNodeError?: Error | null, errors?: Error[] }): string {
  const { message } = error.lastNodeError ?? error.errors?.[0] ?? error
  return message === '' ? error.name : message
}

/**
 * True for the message of a command that there was no connection to send on; redirections come before a command is
 * done.
 */
export function isNotSent (message: string): boolean {
  return /^Stream isn't writeable|^Cluster isn't ready|^Failed to refresh slots cache|^None of startup nodes|^Too many Cluster redirections/.test(
    message
  )
}

/** True for the message of a command whose connection was lost before the answer. */
export function isCutOff (message: string): boolean {
  return /^Connection is closed|^Reached the max retries|^Command aborted/.test(message)
}
