import type { Cluster, ClusterNode, Redis, RedisOptions as AllRedisOptions } from 'ioredis'
import { ClusterClient, RedisClient } from './ioredis.ts'
import type { OptionError } from '../option-check.ts'
import { show } from '../show.ts'

/** Options of ioredis that change the form of replies or the purpose of a connection; this package sets them itself. */
type OwnOptions = 'replyMapping' | 'stringNumbers' | 'monitor' | 'role' | 'readOnly' | 'scripts' | 'himportFieldsets'

/**
 * Options of ioredis for one server or for Sentinels. `db` and `keyPrefix` are respected; this package sets retries and
 * time limits itself.
 */
export type RedisOptions = Omit<AllRedisOptions, OwnOptions>

/** How to reach Redis: a URL, ioredis options (including Sentinel), or the nodes of a cluster. */
export type RedisConnection = string | RedisOptions | ClusterConnection

/** Some nodes of a cluster, from which the others are discovered, and the options of the connection to each node. */
export interface ClusterConnection {
  cluster: ClusterNode[]
  redisOptions?: Omit<RedisOptions, 'host' | 'port' | 'path' | 'db' | 'sentinels'>
}

/** The checked connection, with everything that distinguishes one user of a server from another. */
export interface RedisTarget {
  /** Options of each connection, without `db` and `keyPrefix`. */
  readonly options: AllRedisOptions
  /** The nodes of a cluster, or the application's cluster client; undefined for one server or Sentinels. */
  readonly cluster: ClusterNode[] | Cluster | undefined
  /** Number of the database; always 0 in a cluster. */
  readonly database: number
  /** Prefix of every key and channel: `keyPrefix` of ioredis, followed by the prefix of this package. */
  readonly prefix: string
  /** Host and port, for messages; never with credentials. */
  readonly address: string
}

const MAX_DATABASE = 2 ** 31 - 1
const URL_ALLOWED =
  'a URL such as "redis://user:password@host:6379/0" with special characters percent-encoded ' +
  'and a database number as its path'
/** Options that would send the connections to cluster nodes elsewhere. */
const NOT_IN_CLUSTER = ['path', 'sentinels'] as const

/**
 * Checks and normalizes a connection. Throws the error that `bad` creates for a connection that cannot be used; a
 * password is never shown.
 */
export function parseTarget (
  connection: RedisConnection | Redis | Cluster,
  prefix: string,
  bad: OptionError
): RedisTarget {
  if (connection instanceof ClusterClient) {
    // ioredis copies a `keyPrefix` in `redisOptions` to the client.
    const { keyPrefix = '', redisOptions } = connection.options
    return clusterTarget(connection, { ...redisOptions, keyPrefix }, prefix, bad)
  }
  // Tested before `in`: a client has a method named `cluster`.
  if (connection instanceof RedisClient) return serverTarget(connection.options, prefix, bad)
  if (typeof connection === 'string') return serverTarget(parseUrl(connection, bad), prefix, bad)
  if ('cluster' in connection) return clusterTarget(connection.cluster, { ...connection.redisOptions }, prefix, bad)
  return serverTarget(connection, prefix, bad)
}

function serverTarget (given: AllRedisOptions, prefix: string, bad: OptionError): RedisTarget {
  const { db = 0, keyPrefix, ...options } = checkCommon(given, bad)
  // ioredis ignores it, and would connect to localhost.
  if ('url' in given) throw bad('connection', 'the URL itself, not in an object', show(given))
  const database = Number(db)
  if (!Number.isInteger(database) || database < 0 || database > MAX_DATABASE || `${db}`.trim() === '') {
    throw bad('connection.db', `an integer from 0 to ${MAX_DATABASE}`, show(db))
  }
  const { sentinels, name, path, host = 'localhost', port = 6379 } = options
  if (sentinels && (!Array.isArray(sentinels) || sentinels.length === 0)) {
    throw bad('connection.sentinels', 'a list with at least one Sentinel', show(sentinels))
  }
  if (sentinels && (typeof name !== 'string' || name === '')) {
    throw bad('connection.name', 'the name by which the Sentinels know the master', show(name))
  }
  const address = sentinels
    ? `"${name}" of the Sentinels ${sentinels.map(sentinel => `${sentinel.host}:${sentinel.port}`).join(', ')}`
    : (path ?? `${host}:${port}`)
  return { options, cluster: undefined, database, prefix: `${keyPrefix}${prefix}`, address }
}

function clusterTarget (
  cluster: ClusterNode[] | Cluster,
  given: AllRedisOptions,
  prefix: string,
  bad: OptionError
): RedisTarget {
  const { db = 0, keyPrefix, ...options } = checkCommon(given, bad)
  if (Number(db) !== 0) throw bad('connection.redisOptions.db', '0: a cluster has one database', show(db))
  for (const name of NOT_IN_CLUSTER) {
    if (options[name]) {
      throw bad(
        `connection.redisOptions.${name}`,
        'left out: the nodes are found from the list in "cluster"',
        show(options[name])
      )
    }
  }
  if (!(cluster instanceof ClusterClient) && (!Array.isArray(cluster) || cluster.length === 0)) {
    throw bad('connection.cluster', 'a list with at least one node', show(cluster))
  }
  const address = cluster instanceof ClusterClient ? 'the cluster' : `the cluster ${cluster.map(showNode).join(', ')}`
  return { options, cluster, database: 0, prefix: `${keyPrefix}${prefix}`, address }
}

/** Checks that apply to a single server and to each node of a cluster. */
function checkCommon (given: AllRedisOptions, bad: OptionError): AllRedisOptions & { keyPrefix: string } {
  const { keyPrefix = '', role = 'master', monitor = false } = given
  // The prefix comes before the hash tag, so braces in it would be parsed as the tag.
  if (typeof keyPrefix !== 'string' || /[{}\s]/.test(keyPrefix)) {
    throw bad('connection.keyPrefix', 'a string without braces and white space', show(keyPrefix))
  }
  if (role !== 'master') throw bad('connection.role', '"master": a replica accepts no writes', show(role))
  if (monitor) throw bad('connection.monitor', 'false: such a connection accepts no commands', show(monitor))
  return { ...given, keyPrefix }
}

function showNode (node: ClusterNode): string {
  if (typeof node !== 'object') return maskUrl(`${node}`)
  return `${node.host ?? 'localhost'}:${node.port ?? 6379}`
}

function parseUrl (url: string, bad: OptionError): AllRedisOptions {
  // The path of a socket has no scheme; ioredis would parse anything else as a host name, and "1x" as database 1.
  if (!/^(rediss?:\/\/[^/?#]*(\/\d*)?([?#].*)?|\/[^/].*)$/i.test(url)) {
    throw bad('connection', URL_ALLOWED, show(maskUrl(url)))
  }
  try {
    return new RedisClient(url, { lazyConnect: true }).options
  } catch {
    throw bad('connection', URL_ALLOWED, show(maskUrl(url)))
  }
}

/** Masks everything that could be a password, wherever it ends. */
function maskUrl (url: string): string {
  return url.replace(/^([^/]*\/\/)?.*@/s, '$1***@')
}
