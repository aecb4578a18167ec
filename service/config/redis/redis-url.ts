import { isIP } from 'node:net'

/** One server: a cluster node, a Sentinel, or Redis itself. */
export interface RedisNode { host: string, port: number }

/** A parsed REDIS_URL. */
export interface RedisAddress {
  kind: 'server' | 'sentinel' | 'cluster' | 'socket'
  isTls: boolean
  /** One server, or some of the Sentinels or cluster nodes; empty for a socket. */
  nodes: RedisNode[]
  /** Path of the Unix socket. */
  path: string | undefined
  /** Name under which the Sentinels monitor the master. */
  master: string | undefined
  database: number
  username: string | undefined
  password: string | undefined
}

const KINDS = new Map<string, RedisAddress['kind']>(Object.entries({
  redis: 'server',
  rediss: 'server',
  'redis+sentinel': 'sentinel',
  'rediss+sentinel': 'sentinel',
  'redis+cluster': 'cluster',
  'rediss+cluster': 'cluster',
  unix: 'socket',
  'redis+unix': 'socket'
} as const))

const DEFAULT_PORTS = { server: 6379, cluster: 6379, sentinel: 26_379, socket: 0 }
/** The highest database number: Redis stores it in a signed integer of 32 bits. */
const MAX_DATABASE = 2_147_483_646
/** On Linux; longer paths are truncated without an error. */
const MAX_SOCKET_PATH_BYTES = 107

export const REDIS_URL_FORMS =
  'a URL such as redis://host:6379/0, rediss://…, redis+sentinel://host,host/master/0, ' +
  'redis+cluster://host,host or unix:///run/redis.sock'

/** The parts between the punctuation marks of a URL; the user ends at the last `@`, which a password may contain. */
const PARTS =
  /^(?<scheme>[a-z+]+):\/\/(?:(?<user>[^/?#]*)@)?(?<hosts>[^/?#@]*)(?<path>\/[^?#]*)?(?:\?(?<query>[^#]*))?(?<fragment>#.*)?$/i

/** The message shows no part of the URL: what looks like a host may be half of the password. */
const UNENCODED = 'has a "/", "?" or "#" in its user name or password: write them as %2F, %3F and %23'
const NOWHERE: RedisAddress = {
  kind: 'server',
  isTls: false,
  nodes: [],
  path: undefined,
  master: undefined,
  database: 0,
  username: undefined,
  password: undefined
}

/** The parsed URL, and all its problems; with a problem, do not use the address. */
export interface ReadRedisUrl { address: RedisAddress, problems: string[] }

/**
 * Parses a Redis URL. Each problem is the rest of a sentence that begins with the name of the variable, and contains no
 * password. Undefined for a text that is not a Redis URL at all.
 */
export function readRedisUrl (text: string): ReadRedisUrl | undefined {
  const { scheme = '', user, hosts = '', path = '', query, fragment } = PARTS.exec(text)?.groups ?? {}
  const kind = KINDS.get(scheme.toLowerCase())
  if (kind === undefined) return undefined
  // Also for a URL with a user: the user part ends at the first "/", so a password that contains "@" and "/" continues
  // after it.
  if (kind !== 'socket' && [path, query, fragment].some(part => part?.includes('@'))) {
    return { address: NOWHERE, problems: [UNENCODED] }
  }
  const problems: string[] = []
  if (fragment !== undefined) problems.push('has a "#": write it as %23')
  if (kind !== 'server' && user?.includes('@')) {
    problems.push(
      'has an "@" in its password, or more than one user: ' +
        'write "@" in a password as %40, and the user only once, before all hosts'
    )
  }
  const address: RedisAddress = {
    kind,
    isTls: scheme.toLowerCase().startsWith('rediss'),
    nodes: kind === 'socket' ? [] : readNodes(hosts, kind, problems),
    path: kind === 'socket' ? readSocketPath(hosts, path, problems) : undefined,
    ...readPlace(kind, path, query, problems),
    ...readUser(user, problems)
  }
  return { address, problems }
}

function readNodes (hosts: string, kind: keyof typeof DEFAULT_PORTS, problems: string[]): RedisNode[] {
  const nodes = hosts.split(',').map(text => readNode(text, DEFAULT_PORTS[kind], problems))
  if (kind === 'server' && nodes.length > 1) {
    problems.push(`has ${nodes.length} hosts: write redis+sentinel:// or redis+cluster:// for more than one`)
  }
  return nodes.flatMap(node => node ?? [])
}

function readNode (text: string, defaultPort: number, problems: string[]): RedisNode | undefined {
  const { v6, name, port } = /^(?:\[(?<v6>[^\]]*)\]|(?<name>[^:[\]]*))(?::(?<port>.*))?$/.exec(text)?.groups ?? {}
  const host = v6 ?? name ?? ''
  if (v6 === undefined ? !/^[\w.-]+$/.test(host) : isIP(host) !== 6) {
    problems.push(
      `has the host ${JSON.stringify(host)}: a host must be a name, an IPv4 address, or an IPv6 address in brackets`
    )
    return undefined
  }
  const number = port === undefined ? defaultPort : toInteger(port, 1, 65_535)
  // If an "@" is missing, this is the password.
  if (number === undefined) {
    problems.push(
      `has a port that is not an integer from 1 to 65535${/^\d*$/.test(port!) ? `, saw ${JSON.stringify(port)}` : ''}`
    )
  }
  return number === undefined ? undefined : { host, port: number }
}

function readSocketPath (hosts: string, path: string, problems: string[]): string | undefined {
  if (hosts !== '' || path.length < 2) {
    problems.push('must have three slashes before the path of the socket: unix:///run/redis.sock')
    return undefined
  }
  const socket = decode(path, 'path', problems)
  const bytes = Buffer.byteLength(socket ?? '')
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    problems.push(`has a socket path of ${bytes} bytes: the system allows ${MAX_SOCKET_PATH_BYTES}`)
  }
  return socket
}

type Place = Pick<RedisAddress, 'master' | 'database'>

/**
 * The name of the master and the database, from the path; for a socket the database is in the query, because the path
 * is the socket's.
 */
function readPlace (kind: RedisAddress['kind'], path: string, query: string | undefined, problems: string[]): Place {
  const options = new URLSearchParams(query)
  const isSocket = kind === 'socket'
  for (const name of new Set(options.keys())) {
    if (!isSocket || name !== 'db') {
      problems.push(
        `has the option ${JSON.stringify(name)}: ` + (isSocket
          ? 'the only option for a socket is db'
          : 'a Redis URL has no options, and the database is its path')
      )
    }
  }
  if (isSocket) return { master: undefined, database: readDatabase(options.getAll('db').join(), problems) }
  const parts = path.split('/').slice(1)
  const master = kind === 'sentinel' ? decode(parts.shift() ?? '', 'name of the master', problems) : undefined
  if (master === '') {
    problems.push('must name the master that the Sentinels watch: redis+sentinel://host:26379/mymaster')
  }
  const database = readDatabase(parts.join('/'), problems)
  if (kind === 'cluster' && database !== 0) problems.push(`has the database ${database}: a cluster has only 0`)
  return { master, database }
}

function readDatabase (text: string, problems: string[]): number {
  const database = text === '' ? 0 : toInteger(text, 0, MAX_DATABASE)
  if (database === undefined) {
    problems.push(`has the database ${JSON.stringify(text)}: it must be an integer from 0 to ${MAX_DATABASE}`)
  }
  return database ?? 0
}

function readUser (user: string | undefined, problems: string[]): Pick<RedisAddress, 'username' | 'password'> {
  if (user === undefined) return { username: undefined, password: undefined }
  const [, name = '', password] = /^([^:]*)(?::(.*))?$/s.exec(user)!
  return {
    username: decode(name, 'user name', problems) || undefined,
    password: decode(password ?? '', 'password', problems) || undefined
  }
}

function decode (text: string, what: string, problems: string[]): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    problems.push(
      `has a "%" in its ${what} that is not followed by the two hexadecimal digits of a UTF-8 byte: ` +
        'write a literal "%" as %25'
    )
    return undefined
  }
}

function toInteger (text: string, min: number, max: number): number | undefined {
  const value = Number(text)
  return /^\d{1,10}$/.test(text) && value >= min && value <= max ? value : undefined
}
