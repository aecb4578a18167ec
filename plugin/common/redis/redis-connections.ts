import type { Cluster, Redis } from 'ioredis'
import { ClusterClient, RedisClient } from './ioredis.ts'
import type { RedisTarget } from './redis-target.ts'
import { sendOnce } from './send-once.ts'

const FIRST_RETRY_MS = 50
const MAX_RETRY_MS = 2_000
/** A connection that was not retried for this long begins with the shortest delay again. */
const CALM_MS = 10_000
/** A connection that is given up is destroyed after this time: over a silent network it would never close by itself. */
const DISCONNECT_MS = 200
const MAX_CONNECT_MS = 5_000

/**
 * Delays before the retries of one connection: they grow from 50 ms to 2 s, and retries never end, because a log on the
 * network that is away is waited for. ioredis' own count begins again whenever a connection is ready, so that one which
 * is closed at once would be retried 20 times a second.
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
 * What holds for every connection. A command is sent once: a publish whose fate is unknown must not be sent again by
 * the client library, or it could be in the log twice. Without a connection a command fails at once.
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
    // A Sentinel that is frozen accepts a connection and answers nothing.
    sentinelCommandTimeout: Math.min(commandTimeoutMs, MAX_CONNECT_MS),
    retryStrategy: createBackOff(),
    sentinelRetryStrategy: createBackOff(),
    // A master that became a replica: its connection is of no use any more.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    // The scripts' replies are numbers and lists; the prefix is in the names already.
    stringNumbers: false,
    replyMapping: 'legacy' as const,
    keyPrefix: ''
  }
}

/** The connection for commands; except in a cluster, those of one turn of the event loop are sent together. */
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
    // A pipeline does not follow a slot that moves; a command by itself does.
    enableAutoPipelining: false,
    clusterRetryStrategy,
    // RedisLink refreshes the slots: the timer of ioredis is set again when a refresh ends after disconnect(), and
    // keeps the process alive.
    slotsRefreshInterval: 0,
    keyPrefix: '',
    redisOptions: ofNodes
  }
}

/**
 * A connection for messages, to one server (or to whichever the Sentinels name); it never subscribes by itself. What it
 * asks has a time limit, too: a frozen server accepts a connection and never greets it. Messages belong to no database.
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
 * ioredis goes on when SELECT fails or is not answered, and its commands then reach database 0. A connection whose
 * handshake has failed in any way is given up and tried again.
 */
function guardHandshake (connection: Redis): Redis {
  return connection.on('error', () => { if (connection.status === 'connect') connection.disconnect(true) })
}
