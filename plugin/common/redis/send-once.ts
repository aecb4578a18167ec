import type { Cluster, Command } from 'ioredis'
import { CLOSED, isReplyError } from './redis-errors.ts'

/** ioredis sends a command again only after an error with exactly the text of `CLOSED`. */
const CUT_OFF = `${CLOSED} The command had been sent.`
const NOT_SENT = "Cluster isn't ready: the connection was closed before the command was sent"

/**
 * Makes a cluster's client send each command at most once. ioredis sends a command again whose connection was closed,
 * also when Redis had it: what it appends would be there twice. Without a retry (`retryDelayOnFailover: 0`) commands
 * fail that were never sent, as those of the moments in which the client learns the slots. So a command that was
 * written to a connection, and not answered with a redirection, fails with the error of a lost connection; any other is
 * sent as before.
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

/** Whether a command is on its way: written to a socket, and not answered since. */
function watchSending (command: Command): { isTrue: boolean } {
  const wasSent = { isTrue: false }
  const write = command.toWritable
  command.toWritable = socket => {
    wasSent.isTrue = true
    return write.call(command, socket)
  }
  return wasSent
}

/** What becomes of a command in the end, when ioredis has given it up. */
function explainUnsent (command: Command, wasSent: { readonly isTrue: boolean }): void {
  const reject = command.reject
  command.reject = error =>
    reject.call(command, !wasSent.isTrue && error.message.includes(CLOSED) ? new Error(NOT_SENT) : error)
}

/** Set after ioredis' own handler, and therefore asked before it. */
function keepFromResending (command: Command, wasSent: { isTrue: boolean }): void {
  const reject = command.reject
  command.reject = error => {
    // One that has timed out meanwhile: nobody waits for it, and it may not be done after its caller was told.
    if (command.isSettled) return
    if (isReplyError(error)) wasSent.isTrue = false
    reject.call(command, wasSent.isTrue && error.message === CLOSED ? new Error(CUT_OFF) : error)
  }
}
