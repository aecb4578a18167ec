import type { Cluster, Redis } from 'ioredis'
import { ClusterClient, RedisClient } from './ioredis.ts'
import type { ClusterNode, RedisOptions as AllRedisOptions } from 'ioredis'
import { show } from '../show.ts'

/** Options of ioredis that change the shape of replies or the purpose of a connection; they are set by this package. */
type OwnOptions = 'replyMapping' | 'stringNumbers' | 'monitor' | 'role' | 'readOnly' | 'scripts' | 'himportFieldsets'

/**
 * Options of ioredis for one server or for Sentinels. `db` and `keyPrefix` count; retries and time limits are set by
 * this package.
 */
export type RedisOptions = Omit<AllRedisOptions, OwnOptions>

/** Where Redis is: a URL, ioredis options (Sentinel is among them), or the nodes of a cluster. */
export type RedisConnection = string | RedisOptions | ClusterConnection

/** Some nodes of a cluster, from which the others are found, and options of the connection to each. */
export interface ClusterConnection {
  cluster: ClusterNode[]
  redisOptions?: Omit<RedisOptions, 'host' | 'port' | 'path' | 'db' | 'sentinels'>
}

/** Where Redis is, checked, with everything that sets one user of a server apart from another. */
export interface RedisTarget {
  /** Options of each connection; `db` and `keyPrefix` are not among them. */
  readonly options: AllRedisOptions
  /** Nodes of a cluster, or the application's client of one; undefined for one server or Sentinels. */
  readonly cluster: ClusterNode[] | Cluster | undefined
  /** Number of the database; always 0 in a cluster. */
  readonly database: number
  /** Begins every key and channel: `keyPrefix` of ioredis, then the prefix of this package. */
  readonly prefix: string
  /** Host and port, for messages; never with credentials. */
  readonly address: string
}

/** Throws the error of whoever asks: which option, what is allowed, what was seen. */
export type RefuseOption = (option: string, allowed: string, seen: string) => never

const MAX_DATABASE = 2 ** 31 - 1
const URL_ALLOWED =
  'a URL such as "redis://user:password@host:6379/0" with special characters percent-encoded ' +
  'and a database number as its path'
/** What would send the connections to the nodes of a cluster elsewhere. */
const NOT_IN_CLUSTER = ['path', 'sentinels'] as const

/** Checks where Redis is. Calls `refuse` for what cannot be used; a password is never shown. */
export function parseTarget (
  connection: RedisConnection | Redis | Cluster,
  prefix: string,
  refuse: RefuseOption
): RedisTarget {
  if (connection instanceof ClusterClient) {
    // ioredis copies a keyPrefix of `redisOptions` to the client.
    const { keyPrefix = '', redisOptions } = connection.options
    return clusterTarget(connection, { ...redisOptions, keyPrefix }, prefix, refuse)
  }
  // A client has a method of this name.
  if (connection instanceof RedisClient) return serverTarget(connection.options, prefix, refuse)
  if (typeof connection === 'string') return serverTarget(parseUrl(connection, refuse), prefix, refuse)
  if ('cluster' in connection) return clusterTarget(connection.cluster, { ...connection.redisOptions }, prefix, refuse)
  return serverTarget(connection, prefix, refuse)
}

function serverTarget (given: AllRedisOptions, prefix: string, refuse: RefuseOption): RedisTarget {
  const { db = 0, keyPrefix, ...options } = checkCommon(given, refuse)
  const database = Number(db)
  if (!Number.isInteger(database) || database < 0 || database > MAX_DATABASE || `${db}`.trim() === '') {
    refuse('connection.db', `an integer from 0 to ${MAX_DATABASE}`, show(db))
  }
  const { sentinels, name, path, host = 'localhost', port = 6379 } = options
  if (sentinels && (!Array.isArray(sentinels) || sentinels.length === 0)) {
    refuse('connection.sentinels', 'a list with at least one Sentinel', show(sentinels))
  }
  if (sentinels && (typeof name !== 'string' || name === '')) {
    refuse('connection.name', 'the name by which the Sentinels know the master', show(name))
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
  refuse: RefuseOption
): RedisTarget {
  const { db = 0, keyPrefix, ...options } = checkCommon(given, refuse)
  if (Number(db) !== 0) refuse('connection.redisOptions.db', '0: a cluster has one database', show(db))
  for (const name of NOT_IN_CLUSTER) {
    if (options[name]) {
      refuse(
        `connection.redisOptions.${name}`,
        'left out: the nodes are found from the list in "cluster"',
        show(options[name])
      )
    }
  }
  if (!(cluster instanceof ClusterClient) && (!Array.isArray(cluster) || cluster.length === 0)) {
    refuse('connection.cluster', 'a list with at least one node', show(cluster))
  }
  const address = cluster instanceof ClusterClient ? 'the cluster' : `the cluster ${cluster.map(showNode).join(', ')}`
  return { options, cluster, database: 0, prefix: `${keyPrefix}${prefix}`, address }
}

/** What holds for one server and for each node of a cluster. */
function checkCommon (given: AllRedisOptions, refuse: RefuseOption): AllRedisOptions & { keyPrefix: string } {
  const { keyPrefix = '', role = 'master', monitor = false } = given
  // The prefix comes before the hash tag: braces in it would be taken for the tag.
  if (typeof keyPrefix !== 'string' || /[{}\s]/.test(keyPrefix)) {
    refuse('connection.keyPrefix', 'a string without braces and white space', show(keyPrefix))
  }
  if (role !== 'master') refuse('connection.role', '"master": a replica takes no writes', show(role))
  if (monitor) refuse('connection.monitor', 'false: such a connection takes no commands', show(monitor))
  return { ...given, keyPrefix }
}

function showNode (node: ClusterNode): string {
  if (typeof node !== 'object') return maskUrl(`${node}`)
  return `${node.host ?? 'localhost'}:${node.port ?? 6379}`
}

function parseUrl (url: string, refuse: RefuseOption): AllRedisOptions {
  // The path of a socket has no scheme; ioredis would take anything else for the name of a host, and "1x" for database
  // 1.
  if (!/^(rediss?:\/\/[^/?#]*(\/\d*)?([?#].*)?|\/[^/].*)$/i.test(url)) {
    refuse('connection', URL_ALLOWED, show(maskUrl(url)))
  }
  try {
    return new RedisClient(url, { lazyConnect: true }).options
  } catch {
    return refuse('connection', URL_ALLOWED, show(maskUrl(url)))
  }
}

/** Without what could be a password, wherever it ends. */
function maskUrl (url: string): string {
  return url.replace(/^([^/]*\/\/)?.*@/s, '$1***@')
}
