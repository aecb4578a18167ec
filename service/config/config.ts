import { authVariables } from './auth-variables.ts'
import { redisVariables } from './redis-variables.ts'
import { DURATION_OR_ZERO, MAX_EVENTS, readRetention } from './retention-rules.ts'
import { address, anyText, integer, oneOf, origins, proxies, PROXIES, readableFile, yesOrNo } from './variable.ts'
import type { Variable } from './variable.ts'

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/**
 * All there is to set, a row each. A new setting is one row here and one in docs/configuration.md, which a test compares;
 * the environment variable, the flag, `--help` and `ServiceConfig` come from the row.
 */
export const variables = {
  HOST: {
    property: 'host',
    default: '127.0.0.1',
    allowed: 'an IP address or "localhost"',
    read: address,
    meaning: 'Address to listen on. Beyond loopback credentials are asked for (`JWT_…`, `PROXY_…`), or `OPEN_TO_ALL=yes` says that none are.'
  },
  PORT: {
    property: 'port',
    default: '8080',
    allowed: 'an integer from 0 to 65535',
    read: integer(0, 65_535),
    meaning: 'Port to listen on; 0 takes any free one.'
  },
  LOG: {
    property: 'log',
    default: 'lmdb',
    allowed: '"lmdb", "redis" or "memory"',
    read: oneOf('lmdb', 'redis', 'memory'),
    meaning: 'Where events are kept, see below. With `REDIS_URL` the default is `redis`.'
  },
  DATA_DIR: {
    property: 'dataDir',
    default: 'data',
    allowed: 'the path of a folder',
    read: anyText,
    meaning: 'Folder of the LMDB files; made when it is not there.'
  },
  DURABILITY: {
    property: 'durability',
    default: 'disk',
    allowed: '"disk" or "process"',
    read: oneOf('disk', 'process'),
    meaning: 'When a publish on LMDB is acknowledged: flushed to the disk (survives a power cut), or with the operating system (survives the end of the process).'
  },
  ...redisVariables,
  LOG_LEVEL: {
    property: 'logLevel',
    default: 'info',
    allowed: LOG_LEVELS.join(', '),
    read: oneOf(...LOG_LEVELS),
    meaning: "Level of the service's own log, JSON lines on stdout."
  },
  MAX_EVENTS: {
    property: 'maxEvents',
    default: '10000',
    ...MAX_EVENTS,
    meaning: 'Older events are dropped, and a client that needed them gets a `stream.gap`.'
  },
  MAX_AGE: {
    property: 'maxAgeMs',
    default: '0',
    ...DURATION_OR_ZERO,
    meaning: 'Events older than this are dropped; `0` keeps them whatever their age.'
  },
  EXPIRE_AFTER: {
    property: 'expireAfterMs',
    default: '7d',
    ...DURATION_OR_ZERO,
    meaning: 'A topic nobody publishes to for this long is forgotten, its numbers too; `0` forgets none.'
  },
  RETENTION: {
    property: 'retention',
    default: undefined,
    allowed: 'rules such as "build/* MAX_EVENTS=100 MAX_AGE=1d; chat.* EXPIRE_AFTER=1h"',
    read: text => readRetention(text).problems.length === 0 ? readRetention(text).rules : undefined,
    problems: text => readRetention(text).problems,
    meaning: 'Other values of `MAX_EVENTS`, `MAX_AGE`, `EXPIRE_AFTER` and `IDEMPOTENCY_WINDOW` for the topics that match a pattern; the first rule that matches applies.'
  },
  MAX_EVENT_BYTES: {
    property: 'maxEventBytes',
    default: '262144',
    allowed: 'an integer from 1 to 16777216 (bytes)',
    read: integer(1, 16_777_216),
    meaning: 'Size of one event on the wire.'
  },
  MAX_BATCH_EVENTS: {
    property: 'maxBatchEvents',
    default: '10000',
    allowed: 'an integer from 1 to 100000',
    read: integer(1, 100_000),
    meaning: 'Events in one publish as NDJSON. A JSON array takes 1,000 of them, or this many if that is less.'
  },
  MAX_BODY_BYTES: {
    property: 'maxBodyBytes',
    default: '1048576',
    allowed: 'an integer from 1024 to 104857600 (bytes)',
    read: integer(1_024, 104_857_600),
    meaning: 'Size of a body that is read whole (JSON, text), counted when it is decompressed.'
  },
  MAX_BATCH_BYTES: {
    property: 'maxBatchBytes',
    default: '16777216',
    allowed: 'an integer from 1024 to 1073741824 (bytes)',
    read: integer(1_024, 1_073_741_824),
    meaning: 'Size of a body of NDJSON, which is read line by line; counted when it is decompressed.'
  },
  MAX_BODIES_BYTES: {
    property: 'maxBodiesBytes',
    default: '134217728',
    allowed: 'an integer from 1024 to 68719476736 (bytes)',
    read: integer(1_024, 68_719_476_736),
    meaning: 'Size of all bodies that are being received together, decompressed; further ones get 503 until there is room. One body alone may be larger.'
  },
  PUBLISH_RATE: {
    property: 'publishRate',
    default: '0',
    allowed: 'an integer from 0 to 1000000 (publishes per second)',
    read: integer(0, 1_000_000),
    meaning: 'Publishes that one subject, or one address where nobody signs in, may send each second; `0` sets no limit.'
  },
  CORS_ORIGINS: {
    property: 'corsOrigins',
    default: undefined,
    allowed: '"*" or origins such as https://app.example, separated by commas',
    read: origins,
    meaning: 'Origins whose pages may use the service, with cookies; `*` allows every page, without cookies. None: pages of its own origin only.'
  },
  HEARTBEAT_MS: {
    property: 'heartbeatMs',
    default: '15000',
    allowed: 'an integer from 10 to 2147483647 (ms)',
    read: integer(10, 2_147_483_647),
    meaning: 'A comment is sent to a client after this time without bytes.'
  },
  DRAIN_MS: {
    property: 'drainMs',
    default: '5000',
    allowed: 'an integer from 0 to 2147483647 (ms)',
    read: integer(0, 2_147_483_647),
    meaning: 'On SIGTERM or SIGINT streams are ended within this time.'
  },
  DRAIN_DELAY_MS: {
    property: 'drainDelayMs',
    default: '0',
    allowed: 'an integer from 0 to 2147483647 (ms)',
    read: integer(0, 2_147_483_647),
    meaning: 'Before that `/readyz` says 503 for this time and new streams are told to come back, so that a load balancer sends clients elsewhere.'
  },
  CANARY_MS: {
    property: 'canaryMs',
    default: '5000',
    allowed: 'an integer from 10 to 600000 (ms)',
    read: integer(10, 600_000),
    meaning: 'A message is sent through Redis and back this often; when two in a row are not heard the connection is replaced.'
  },
  MAX_STREAMS: {
    property: 'maxStreams',
    default: '20000',
    allowed: 'an integer from 0 to 1000000 (streams; 0 for any number)',
    read: integer(0, 1_000_000),
    meaning: 'Streams of this process; further clients are asked to retry later. The process needs more file descriptors than this.'
  },
  MAX_STREAMS_PER_ADDRESS: {
    property: 'maxStreamsPerAddress',
    default: '1000',
    allowed: 'an integer from 0 to 1000000 (streams; 0 for any number)',
    read: integer(0, 1_000_000),
    meaning: 'Streams of one client address; see `TRUST_PROXY`. Raise it where many users share an address (NAT).'
  },
  MAX_STREAMS_PER_SUBJECT: {
    property: 'maxStreamsPerSubject',
    default: '100',
    allowed: 'an integer from 0 to 1000000 (streams; 0 for any number)',
    read: integer(0, 1_000_000),
    meaning: 'Streams of one authenticated subject; a further one replaces the oldest.'
  },
  MAX_TOPICS: {
    property: 'maxTopics',
    default: '100000',
    allowed: 'an integer from 1 to 10000000 (topics)',
    read: integer(1, 10_000_000),
    meaning: 'Topics that the streams of this process follow together; who comes with more is told to come back.'
  },
  MAX_TOPICS_PER_STREAM: {
    property: 'maxTopicsPerStream',
    default: '44',
    allowed: 'an integer from 1 to 44 (topics)',
    read: integer(1, 44),
    meaning: 'Topics of one stream; more are refused with 400.'
  },
  TRUST_PROXY: {
    property: 'trustProxy',
    default: undefined,
    allowed: PROXIES,
    read: proxies,
    meaning: 'Proxies whose `X-Forwarded-For` is believed, so that the address of a client is its own.'
  },
  CONSOLE: {
    property: 'hasConsole',
    default: 'yes',
    allowed: '"yes" or "no"',
    read: yesOrNo,
    meaning: 'Serve the page `/console`, to listen and publish by hand.'
  },
  WORKERS: {
    property: 'workers',
    default: '1',
    allowed: 'an integer from 1 to 256',
    read: integer(1, 256),
    meaning: 'Processes that share the port, for machines of more than one core; more than one needs `LOG=redis`.'
  },
  TLS_CERT: {
    property: 'tlsCert',
    default: undefined,
    allowed: 'the path of a file that can be read',
    read: readableFile,
    meaning: 'Certificate chain, PEM: with `TLS_KEY` the service speaks HTTP/2 with TLS, and HTTP/1.1 on the same port. Read again on SIGHUP.'
  },
  TLS_KEY: {
    property: 'tlsKey',
    default: undefined,
    allowed: 'the path of a file that can be read',
    read: readableFile,
    meaning: 'Private key of `TLS_CERT`, PEM.'
  },
  ...authVariables,
  OPEN_TO_ALL: {
    property: 'isOpenToAll',
    default: 'no',
    allowed: '"yes" or "no"',
    read: yesOrNo,
    meaning: 'Without a key for tokens and without a proxy that authenticates, whoever reaches the service may publish and subscribe. `yes` says that this is meant beyond loopback.'
  }
} as const satisfies Record<string, Variable>

export type VariableName = keyof typeof variables

type Row = (typeof variables)[VariableName]
type Value<R extends Row> = Exclude<ReturnType<R['read']>, undefined> | (R extends { default: string } ? never : undefined)

/** Where and how the service listens, and on which log: a property per row of `variables`. Durations are in ms. */
export type ServiceConfig = { [R in Row as R['property']]: Value<R> }
