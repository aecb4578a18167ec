import { authVariables } from './auth-variables.ts'
import { redisVariables } from './redis/redis-variables.ts'
import { DURATION_OR_ZERO, MAX_EVENTS, readRetention } from './retention-rules.ts'
import {
  address, anyText, integer, oneOf, origins, proxies, PROXIES, readableFile, unreadable, yesOrNo
} from './variable.ts'
import type { Variable } from './variable.ts'

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/**
 * Every setting, one row each. A new setting is one row here and one in docs/configuration.md, which a test compares;
 * the environment variable, the flag, `--help` and `ServiceConfig` come from the row.
 */
export const variables = {
  HOST: {
    property: 'host',
    default: '127.0.0.1',
    allowed: 'an IP address or "localhost"',
    read: address,
    meaning: 'Address to listen on; `localhost` is the first address of this name. Any address other than loopback ' +
      'requires credentials (`JWT_…`, `JWKS_URL`, `PROXY_…`), unless `OPEN_TO_ALL=yes`.'
  },
  PORT: {
    property: 'port',
    default: '8080',
    allowed: 'an integer from 0 to 65535',
    read: integer(0, 65_535),
    meaning: 'Port to listen on; 0 picks a free one.'
  },
  LOG: {
    property: 'log',
    default: 'lmdb',
    allowed: '"lmdb", "redis" or "memory"',
    read: oneOf('lmdb', 'redis', 'memory'),
    meaning: 'Where events are stored: LMDB files, Redis or memory. If `REDIS_URL` is set, the default is `redis`.'
  },
  DATA_DIR: {
    property: 'dataDir',
    default: 'data',
    allowed: 'the path of a folder',
    read: anyText,
    meaning: 'Folder of the LMDB files; created if it does not exist.'
  },
  DURABILITY: {
    property: 'durability',
    default: 'disk',
    allowed: '"disk" or "process"',
    read: oneOf('disk', 'process'),
    meaning: 'When LMDB acknowledges a publish. `disk`: after it was flushed to the disk, so that it survives a ' +
      'power failure. `process`: after it was passed to the operating system, so that it survives a crash of the ' +
      'process.'
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
    meaning: 'Older events are removed, and a client that has not received them gets a `stream.gap`.'
  },
  MAX_AGE: {
    property: 'maxAgeMs',
    default: '0',
    ...DURATION_OR_ZERO,
    meaning: 'Events older than this are removed; `0` sets no maximum age.'
  },
  EXPIRE_AFTER: {
    property: 'expireAfterMs',
    default: '7d',
    ...DURATION_OR_ZERO,
    meaning: 'A topic without a publish for this long is removed, including its event numbers; `0` keeps all topics.'
  },
  RETENTION: {
    property: 'retention',
    default: undefined,
    allowed: 'rules such as "build/* MAX_EVENTS=100 MAX_AGE=1d; chat.* EXPIRE_AFTER=1h"',
    read: text => readRetention(text).problems.length === 0 ? readRetention(text).rules : undefined,
    problems: text => readRetention(text).problems,
    meaning: 'Other values of `MAX_EVENTS`, `MAX_AGE`, `EXPIRE_AFTER` and `IDEMPOTENCY_WINDOW` for topics that ' +
      'match a pattern; the first matching rule applies.'
  },
  MAX_EVENT_BYTES: {
    property: 'maxEventBytes',
    default: '262144',
    allowed: 'an integer from 1 to 16777216 (bytes)',
    read: integer(1, 16_777_216),
    meaning: 'Maximum size of one event on the wire.'
  },
  MAX_BATCH_EVENTS: {
    property: 'maxBatchEvents',
    default: '10000',
    allowed: 'an integer from 1 to 100000',
    read: integer(1, 100_000),
    meaning: 'Maximum number of events in one publish as NDJSON. A JSON array may have 1,000, or this many if ' +
      'that is less.'
  },
  MAX_BODY_BYTES: {
    property: 'maxBodyBytes',
    default: '1048576',
    allowed: 'an integer from 1024 to 104857600 (bytes)',
    read: integer(1_024, 104_857_600),
    meaning: 'Maximum size of a JSON or text body, after decompression.'
  },
  MAX_BATCH_BYTES: {
    property: 'maxBatchBytes',
    default: '16777216',
    allowed: 'an integer from 1024 to 1073741824 (bytes)',
    read: integer(1_024, 1_073_741_824),
    meaning: 'Maximum size of an NDJSON body, which is read line by line, after decompression.'
  },
  MAX_BODIES_BYTES: {
    property: 'maxBodiesBytes',
    default: '134217728',
    allowed: 'an integer from 1024 to 68719476736 (bytes)',
    read: integer(1_024, 68_719_476_736),
    meaning: 'Maximum size of all bodies being received at the same time, after decompression; further requests get ' +
      '503 until others are complete. A single body may be larger. Responses over 8 KiB being sent have the same ' +
      'maximum, counted separately.'
  },
  PUBLISH_RATE: {
    property: 'publishRate',
    default: '0',
    allowed: 'an integer from 0 to 1000000 (publishes per second)',
    read: integer(0, 1_000_000),
    meaning: 'Publish requests per second of one subject, or of one address without authentication; `0` sets no limit.'
  },
  CORS_ORIGINS: {
    property: 'corsOrigins',
    default: undefined,
    allowed: '"*" or origins such as https://app.example, separated by commas',
    read: origins,
    meaning: 'Origins whose pages may use the service, with cookies; `*` allows every page, without cookies. ' +
      'Default: only pages of the same origin.'
  },
  HEARTBEAT_MS: {
    property: 'heartbeatMs',
    default: '15000',
    allowed: 'an integer from 10 to 2147483647 (ms)',
    read: integer(10, 2_147_483_647),
    meaning: 'A comment is sent on a stream that has been idle for this time.'
  },
  GZIP_MIN_BYTES: {
    property: 'gzipMinBytes',
    default: '1024',
    allowed: 'an integer from 0 to 1073741824 (bytes; 0 for no compression)',
    read: integer(0, 1_073_741_824),
    meaning: 'Events of a stream from this size are compressed for clients that accept gzip; from an eighth of it ' +
      'where several clients receive the same bytes.'
  },
  DRAIN_MS: {
    property: 'drainMs',
    default: '5000',
    allowed: 'an integer from 0 to 2147483647 (ms)',
    read: integer(0, 2_147_483_647),
    meaning: 'After SIGTERM or SIGINT all streams are ended within this time.'
  },
  DRAIN_DELAY_MS: {
    property: 'drainDelayMs',
    default: '0',
    allowed: 'an integer from 0 to 2147483647 (ms)',
    read: integer(0, 2_147_483_647),
    meaning: 'Time between SIGTERM or SIGINT and the end of the first stream. `/readyz` already returns 503 and ' +
      'new streams are asked to retry, so that a load balancer can send clients to other instances.'
  },
  CANARY_MS: {
    property: 'canaryMs',
    default: '5000',
    allowed: 'an integer from 10 to 600000 (ms)',
    read: integer(10, 600_000),
    meaning: 'Interval of the probe messages that test Redis Pub/Sub; if two in a row do not arrive, the connection ' +
      'is replaced.'
  },
  MAX_STREAMS: {
    property: 'maxStreams',
    default: '20000',
    allowed: 'an integer from 0 to 1000000 (streams; 0 for any number)',
    read: integer(0, 1_000_000),
    meaning: 'Maximum number of streams of this process; further clients are asked to retry later. The limit on ' +
      'open files must be higher.'
  },
  MAX_STREAMS_PER_ADDRESS: {
    property: 'maxStreamsPerAddress',
    default: '1000',
    allowed: 'an integer from 0 to 1000000 (streams; 0 for any number)',
    read: integer(0, 1_000_000),
    meaning: 'Maximum number of streams of one client address; see `TRUST_PROXY`. Raise it if many users share an ' +
      'address (NAT).'
  },
  MAX_STREAMS_PER_SUBJECT: {
    property: 'maxStreamsPerSubject',
    default: '100',
    allowed: 'an integer from 0 to 1000000 (streams; 0 for any number)',
    read: integer(0, 1_000_000),
    meaning: 'Maximum number of streams of one authenticated subject; another one replaces the oldest.'
  },
  MAX_TOPICS: {
    property: 'maxTopics',
    default: '100000',
    allowed: 'an integer from 1 to 10000000 (topics)',
    read: integer(1, 10_000_000),
    meaning: 'Maximum number of topics that the streams of this process follow together; a stream that would ' +
      'exceed it is asked to retry later.'
  },
  MAX_TOPICS_PER_STREAM: {
    property: 'maxTopicsPerStream',
    default: '44',
    allowed: 'an integer from 1 to 44 (topics)',
    read: integer(1, 44),
    meaning: 'Maximum number of topics of one stream; a request for more gets 400.'
  },
  TRUST_PROXY: {
    property: 'trustProxy',
    default: undefined,
    allowed: PROXIES,
    read: proxies,
    meaning: 'Proxies whose `X-Forwarded-For` is trusted as the address of the client.'
  },
  CONSOLE: {
    property: 'hasConsole',
    default: 'yes',
    allowed: '"yes" or "no"',
    read: yesOrNo,
    meaning: 'Whether the page `/console` is served, to subscribe and publish by hand.'
  },
  WORKERS: {
    property: 'workers',
    default: '1',
    allowed: 'an integer from 1 to 256',
    read: integer(1, 256),
    meaning: 'Number of processes that share the port, to use more than one core; more than one requires `LOG=redis`.'
  },
  TLS_CERT: {
    property: 'tlsCert',
    default: undefined,
    allowed: 'the path of a readable file',
    read: readableFile,
    problems: unreadable,
    meaning: 'Certificate chain, PEM. With `TLS_KEY` the service uses TLS, with HTTP/2 and HTTP/1.1 on the same ' +
      'port. Read again on SIGHUP.'
  },
  TLS_KEY: {
    property: 'tlsKey',
    default: undefined,
    allowed: 'the path of a readable file',
    read: readableFile,
    problems: unreadable,
    meaning: 'Private key of `TLS_CERT`, PEM.'
  },
  ...authVariables,
  OPEN_TO_ALL: {
    property: 'isOpenToAll',
    default: 'no',
    allowed: '"yes" or "no"',
    read: yesOrNo,
    meaning: '`yes` lets every client publish and subscribe without credentials, also on addresses other than ' +
      'loopback.'
  }
} as const satisfies Record<string, Variable>

export type VariableName = keyof typeof variables

type Row = (typeof variables)[VariableName]
type Value<R extends Row> =
  Exclude<ReturnType<R['read']>, undefined> | (R extends { default: string } ? never : undefined)

/** Where and how the service listens, and on which log: a property per row of `variables`. Durations are in ms. */
export type ServiceConfig = { [R in Row as R['property']]: Value<R> }
