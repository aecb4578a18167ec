import type { Cluster, Redis } from 'ioredis'
import { ClusterClient, RedisClient } from './ioredis.ts'
import type { RedisTarget } from './redis-target.ts'
import { sendOnce } from './send-once.ts'

const FIRST_RETRY_MS = 50
const MAX_RETRY_MS = 2_000
/** After this long without a retry, a connection starts with the shortest delay again. */
const CALM_MS = 10_000
/**
 * A connection that is being closed is destroyed after this time: over a dead network it would never close by itself.
 */
const DISCONNECT_MS = 200
const MAX_CONNECT_MS = 5_000

/**
 * Delays between the retries of one connection: they grow from 50 ms to 2 s, and retries never stop, because a log
 * whose server is unreachable waits until it is back. ioredis resets its own counter whenever a connection is ready, so
 * a server that closes each connection at once would be retried 20 times a second.
 */
export function createBackOff (): () => number {
  let delayMs = 0
  let retriedAt = -Infinity
  return () => {
    const now = performance.now()
    delayMs = now - retriedAt > CALM_MS ? FIRST_RETRY_MS : Math.min(MAX_RETRY_MS, delayMs + FIRST_RETRY_MS)
    retriedAt = now
    return delayMs
  }
}

/**
 * Settings of every connection. A command is sent only once: if the client library sent a publish again whose outcome
 * is unknown, the events could be in the log twice. Without a connection a command fails immediately.
 */
function common (commandTimeoutMs: number) {
  return {
    lazyConnect: true,
    enableReadyCheck: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: Math.min(commandTimeoutMs, MAX_CONNECT_MS),
    disconnectTimeout: DISCONNECT_MS,
    commandTimeout: commandTimeoutMs,
    // A frozen Sentinel accepts connections but never answers.
    sentinelCommandTimeout: Math.min(commandTimeoutMs, MAX_CONNECT_MS),
    retryStrategy: createBackOff(),
    sentinelRetryStrategy: createBackOff(),
    // A master that became a replica rejects writes: connect again, to the new master.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    // The scripts expect numbers and arrays as replies, and key names that already have the prefix.
    stringNumbers: false,
    replyMapping: 'legacy' as const,
    keyPrefix: ''
  }
}

/** The connection for commands. Except in a cluster, commands of the same tick of the event loop are sent together. */
export function createCommandConnection (
  { options: given, cluster, database }: RedisTarget,
  commandTimeoutMs: number
): Redis | Cluster {
  const options = common(commandTimeoutMs)
  if (cluster === undefined) {
    return guardHandshake(
      new RedisClient({ ...given, ...options, db: database, readOnly: false, enableAutoPipelining: true })
    )
  }
  const ofCluster = clusterOptions(options)
  if (cluster instanceof ClusterClient) return sendOnce(cluster.duplicate([], ofCluster))
  return sendOnce(new ClusterClient(cluster, { ...ofCluster, redisOptions: { ...given, ...ofCluster.redisOptions } }))
}

function clusterOptions ({
  retryStrategy: clusterRetryStrategy,
  enableOfflineQueue,
  ...ofNodes
}: ReturnType<typeof common>) {
  return {
    lazyConnect: true,
    enableOfflineQueue,
    // A pipeline does not follow a slot that has moved; a single command does.
    enableAutoPipelining: false,
    clusterRetryStrategy,
    // RedisLink refreshes the slots instead: ioredis starts its timer again if a refresh ends after disconnect(), which
    // keeps the process alive.
    slotsRefreshInterval: 0,
    keyPrefix: '',
    redisOptions: ofNodes
  }
}

/**
 * A connection for messages, to one server (or to whichever the Sentinels name); it does not resubscribe automatically.
 * Its commands have a time limit, too: a frozen server accepts a connection and never completes the handshake. Messages
 * are not tied to a database.
 */
export function createMessageConnection ({ options }: Pick<RedisTarget, 'options'>, commandTimeoutMs: number): Redis {
  return guardHandshake(
    new RedisClient({
      ...options,
      ...common(commandTimeoutMs),
      db: 0,
      readOnly: false,
      enableAutoPipelining: false,
      autoResubscribe: false
    })
  )
}

/**
 * ioredis continues when SELECT fails or is not answered, and its commands then reach database 0. So a connection whose
 * handshake failed in any way is closed and opened again.
 */
function guardHandshake (connection: Redis): Redis {
  return connection.on('error', () => { if (connection.status === 'connect') connection.disconnect(true) })
}
