import { Cluster, Redis } from 'ioredis'
import type { ClusterNode, RedisOptions as AllRedisOptions } from 'ioredis'

/** ioredis' options but the shape of its replies, which is ours to know. */
export type RedisOptions = Omit<AllRedisOptions, 'replyMapping'>

/** Where Redis is: a URL, ioredis options (Sentinel is among them), or the nodes of a cluster. */
export type RedisConnection = string | RedisOptions | ClusterConnection

/** Some nodes of a cluster, from which the others are found, and options of the connection to each. */
export interface ClusterConnection { cluster: ClusterNode[], redisOptions?: Omit<RedisOptions, 'host' | 'port' | 'path' | 'readOnly' | 'sentinels'> }

export function isCluster (connection: RedisConnection): connection is ClusterConnection {
  return typeof connection === 'object' && connection !== null && 'cluster' in connection
}

const MAX_RETRY_DELAY_MS = 2_000
const SLOTS_REFRESH_MS = 2_000

/** Grows from 50 ms, for ever: a log on the network that is away is waited for. */
const retryStrategy = (attempt: number): number => Math.min(MAX_RETRY_DELAY_MS, 50 * attempt)

/**
 * What holds for every connection. A command is sent once: a publish whose fate is unknown must not be sent again by the
 * client library, or it could stand in the log twice. Without a connection a command fails at once.
 */
function common (commandTimeoutMs: number) {
  return {
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: commandTimeoutMs,
    retryStrategy,
    sentinelRetryStrategy: retryStrategy,
    // A master that became a replica: its connection is of no use any more.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY')
  }
}

/** The connection for commands; but for a cluster, those of one turn of the event loop go out together. */
export function createCommandConnection (connection: RedisConnection | Redis | Cluster, commandTimeoutMs: number): Redis | Cluster {
  const options = { ...common(commandTimeoutMs), commandTimeout: commandTimeoutMs }
  if (connection instanceof Cluster) return connection.duplicate([], clusterOptions(options))
  if (connection instanceof Redis) return connection.duplicate({ ...options, enableAutoPipelining: true })
  if (typeof connection === 'string') return new Redis(connection, { ...options, enableAutoPipelining: true })
  if (!isCluster(connection)) return new Redis({ ...connection, ...options, enableAutoPipelining: true })
  return new Cluster(connection.cluster, clusterOptions({ ...connection.redisOptions, ...options }))
}

function clusterOptions ({ retryStrategy: clusterRetryStrategy, enableOfflineQueue, ...ofNodes }: ReturnType<typeof common>) {
  return {
    lazyConnect: true,
    enableOfflineQueue,
    // A pipeline does not follow a slot that moves; a command by itself does.
    enableAutoPipelining: false,
    clusterRetryStrategy,
    // A promoted replica is found although no command fails: messages would be waited for at the old place.
    slotsRefreshInterval: SLOTS_REFRESH_MS,
    redisOptions: ofNodes
  }
}

/**
 * A connection for messages, to one server (or to whichever the Sentinels name); it never subscribes by itself. What it asks has
 * a time limit, too: a frozen server takes a connection and never greets it.
 */
export function createMessageConnection (connection: string | RedisOptions | Redis, commandTimeoutMs: number): Redis {
  const options = { ...common(commandTimeoutMs), commandTimeout: commandTimeoutMs, autoResubscribe: false }
  if (connection instanceof Redis) return connection.duplicate(options)
  return typeof connection === 'string' ? new Redis(connection, options) : new Redis({ ...connection, ...options })
}
