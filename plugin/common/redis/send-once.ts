import type { Cluster, Command } from 'ioredis'
import { CLOSED, isReplyError } from './redis-errors.ts'

/** Must differ from `CLOSED`: ioredis sends a command again only after an error with exactly that text. */
const CUT_OFF = `${CLOSED} The command had been sent.`
const NOT_SENT = "Cluster isn't ready: the connection was closed before the command was sent"

/**
 * Makes a cluster client send each command at most once. ioredis sends a command again if its connection was closed,
 * even if Redis had received it: appended events would then be stored twice. Turning retries off
 * (`retryDelayOnFailover: 0`) would also fail commands that were never sent, such as those issued while the client
 * discovers the slots. So a command that was written to a connection and not answered with a redirection fails with the
 * error of a lost connection; any other command is handled as before.
 */
export function sendOnce (cluster: Cluster): Cluster {
  const send = cluster.sendCommand.bind(cluster)
  cluster.sendCommand = (command, ...rest) => {
    const wasSent = watchSending(command)
    explainUnsent(command, wasSent)
    const answer = send(command, ...rest)
    keepFromResending(command, wasSent)
    return answer
  }
  return cluster
}

/** Tracks whether a command is in flight: written to a socket, and not answered yet. */
function watchSending (command: Command): { isTrue: boolean } {
  const wasSent = { isTrue: false }
  const write = command.toWritable
  command.toWritable = socket => {
    wasSent.isTrue = true
    return write.call(command, socket)
  }
  return wasSent
}

/** Runs when ioredis finally gives up a command. */
function explainUnsent (command: Command, wasSent: { readonly isTrue: boolean }): void {
  const reject = command.reject
  command.reject = error =>
    reject.call(command, !wasSent.isTrue && error.message.includes(CLOSED) ? new Error(NOT_SENT) : error)
}

/** Installed after the handler of ioredis, and therefore called before it. */
function keepFromResending (command: Command, wasSent: { isTrue: boolean }): void {
  const reject = command.reject
  command.reject = error => {
    // The command has timed out: nobody waits for it, and it must not be executed after its caller saw an error.
    if (command.isSettled) return
    if (isReplyError(error)) wasSent.isTrue = false
    reject.call(command, wasSent.isTrue && error.message === CLOSED ? new Error(CUT_OFF) : error)
  }
}
