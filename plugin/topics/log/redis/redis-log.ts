import { randomUUID } from 'node:crypto'
import { slotOf } from './slot.ts'
import { Cluster } from 'ioredis'
import type { Redis } from 'ioredis'
import { show } from '../../../common/show.ts'
import { errors } from '../../errors.ts'
import { formatEventId, idsFrom, ORIGIN, parseEventId } from '../../event-id.ts'
import type { EventId } from '../../event-id.ts'
import { createRetention } from '../../retention.ts'
import type { Retention, RetentionOf, RetentionRule } from '../../retention.ts'
import { createCommandConnection, createMessageConnection, isCluster } from '../../../common/redis-connections.ts'
import type { RedisConnection, RedisOptions } from '../../../common/redis-connections.ts'
import { fingerprintOf, keyNameOf } from '../idempotency.ts'
import { RedisClusterSubscriber } from './redis-cluster-subscriber.ts'
import { parseRedisMessage } from './redis-message.ts'
import { ReplicaWait } from './redis-replicas.ts'
import { defineScripts } from './redis-scripts.ts'
import type { LocateReply, ScriptCommands } from './redis-scripts.ts'
import { RedisSubscriber } from './redis-subscriber.ts'
import type { Appended, AppendOptions, Jump, LogEntry, LogHealth, LogLogger, Location, NewEvent, PageLimit, SeekStart, TopicEnds, TopicListener, TopicLog } from '../topic-log.ts'

export interface RedisLogOptions {
  /** Where Redis is: a URL, ioredis options (Sentinel is among them), or `{ cluster: nodes }`. */
  connection: RedisConnection
  /** Begins every key and channel. Default `sse:`. */
  prefix?: string
  /** Retention by topic pattern; the first rule that matches counts. */
  retention?: readonly RetentionRule[]
  /** A command not answered within this many ms has failed, and what it did is not known. Default 5,000. */
  commandTimeoutMs?: number
  /** The canary is sent this often, in ms. Default 5,000. */
  canaryMs?: number
  /** A publish is acknowledged when this many replicas have it too. Default 0. */
  replicas?: number
  /** How long to wait for the replicas, in ms. Default 1,000. */
  replicasTimeoutMs?: number
}

const DEFAULTS = { prefix: 'sse:', commandTimeoutMs: 5_000, canaryMs: 5_000, replicas: 0, replicasTimeoutMs: 1_000 }
const MAX_MS = 600_000

/** Entries asked for in the first page of a topic whose entry size is not known yet. */
const FIRST_PAGE = 64

/**
 * A topic is a Redis stream; one script appends and announces. Per process there is one connection for commands and one
 * for messages, whatever the number of clients.
 */
export class RedisLog implements TopicLog {
  readonly #client: (Redis | Cluster) & ScriptCommands
  readonly #options: Required<Omit<RedisLogOptions, 'retention'>>
  readonly #retentionOf: RetentionOf
  readonly #listeners = new Map<string, TopicListener>()
  readonly #bytesPerEntry = new Map<string, number>()
  readonly #waits = new WeakMap<Redis, ReplicaWait>()
  readonly #publish: 'PUBLISH' | 'SPUBLISH'
  #subscriber: RedisSubscriber | RedisClusterSubscriber | undefined
  #timesReady = 0

  /** Connects to nothing yet. Throws `TOPICS_BAD_OPTION`. */
  constructor ({ retention, ...given }: RedisLogOptions) {
    this.#options = checkOptions(given)
    this.#retentionOf = createRetention(retention)
    this.#publish = isCluster(given.connection) ? 'SPUBLISH' : 'PUBLISH'
    this.#client = defineScripts(createCommandConnection(given.connection, this.#options.commandTimeoutMs))
  }

  /** True when Redis answers and its messages arrive. */
  get isHealthy (): boolean { return this.#client.status === 'ready' && this.#subscriber?.isHealthy === true }

  /** Before the start there is nothing to tell. */
  get health (): LogHealth {
    const { canaryAgeMs = Infinity, reconnects = 0, replaced = 0 } = this.#subscriber ?? {}
    return { isHealthy: this.isHealthy, canaryAgeMs, reconnects: reconnects + Math.max(0, this.#timesReady - 1), replaced }
  }

  async start (logger: LogLogger): Promise<void> {
    this.#client.on('error', (err: Error) => logger.warn({ err }, 'redis: the command connection failed; it is tried again'))
    this.#client.on('ready', () => {
      this.#timesReady++
      void this.#warnOfEviction(logger)
    })
    this.#subscriber = this.#createSubscriber(logger)
    await Promise.all([this.#client.connect().catch(() => {}), this.#subscriber.start()])
  }

  async append (topic: string, events: readonly NewEvent[], options: AppendOptions = {}): Promise<Appended> {
    const key = keyNameOf(options)
    const args = this.#appendArgs(topic, events)
    if (key !== undefined) args.push(fingerprintOf(events))
    const [outcome, ms, n, count] = await this.#ask(() => key === undefined
      ? this.#client.topicAppend(this.#key(topic, 'log'), this.#key(topic, 'meta'), args)
      : this.#client.topicAppendOnce(this.#key(topic, 'log'), this.#key(topic, 'meta'), this.#key(topic, `key:${key}`), args))
    if (outcome === 'reused') throw new errors.TOPICS_IDEMPOTENCY_KEY_REUSED(options.idempotencyKey, topic)
    if (outcome === 'closed') throw new errors.TOPICS_CLOSED(topic)
    await this.#waitForReplicas(topic)
    return { ids: idsFrom({ ms: Number(ms), n: Number(n) }, Number(count)), isRepeat: outcome === 'repeat' }
  }

  /**
   * For one argument of a command, which ioredis flattens: spread into the call, a large batch overflows the stack. All are
   * strings, as what throws while ioredis queues a command mixes up the answers of all others that are queued with it.
   */
  #appendArgs (topic: string, events: readonly NewEvent[]): string[] {
    const args = [this.#channel(topic), this.#publish, ...retentionArgs(this.#retentionOf(topic))]
    for (const { event, data, retry } of events) args.push(event ?? '', data, retry ?? '')
    return args.map(String)
  }

  /** Redis bounds a page by count only, so the count is chosen by the size of the topic's entries so far. */
  async read (topic: string, after: EventId, limit: PageLimit): Promise<LogEntry[]> {
    const known = this.#bytesPerEntry.get(topic)
    const count = Math.max(1, Math.min(limit.count, known === undefined ? FIRST_PAGE : Math.ceil(limit.bytes / known)))
    for (let from = formatEventId(after); ;) {
      const reply = await this.#ask(() => this.#client.xrange(this.#key(topic, 'log'), `(${from}`, '+', 'COUNT', count))
      const entries = reply.flatMap(([id, fields]) => toEntry(id, fields))
      if (entries.length > 0) this.#bytesPerEntry.set(topic, Math.max(1, entries.reduce((sum, entry) => sum + Buffer.byteLength(entry.data), 0) / entries.length))
      if (entries.length > 0 || reply.length < count) return cutPage(entries, limit)
      // A page of nothing but another program's entries is not the end.
      from = reply.at(-1)![0]
    }
  }

  async locate (topic: string, id: EventId): Promise<Location> {
    const reply = await this.#ask(() => this.#client.topicLocate(this.#key(topic, 'log'), this.#key(topic, 'meta'), formatEventId(id), this.#retentionOf(topic).maxAgeMs))
    return toLocation(reply)
  }

  async seek (topic: string, start: SeekStart): Promise<EventId> {
    const [kind, value] = 'last' in start ? ['last', start.last] as const : ['since', start.sinceMs] as const
    const first = await this.#ask(() => this.#client.topicSeek(this.#key(topic, 'log'), kind, value))
    const id = parseEventId(first)
    return id ? { ms: id.ms, n: id.n - 1 } : (await this.locate(topic, ORIGIN)).ends.last
  }

  async follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    this.#listeners.set(topic, listener)
    try {
      await this.#ask(async () => this.#subscriber?.subscribe(this.#channel(topic)))
      return (await this.locate(topic, ORIGIN)).ends
    } catch (error) {
      await this.unfollow(topic, listener)
      throw error
    }
  }

  async unfollow (topic: string, listener: TopicListener): Promise<void> {
    if (this.#listeners.get(topic) !== listener) return
    this.#listeners.delete(topic)
    this.#bytesPerEntry.delete(topic)
    // Without a connection there is nothing to unsubscribe from, and a new one does not subscribe to it.
    await this.#subscriber?.unsubscribe(this.#channel(topic)).catch(() => {})
  }

  async close (topic: string): Promise<void> {
    await this.#ask(() => this.#client.topicClose(this.#key(topic, 'meta'), this.#channel(topic), this.#publish, this.#retentionOf(topic).expireAfterMs))
  }

  async delete (topic: string): Promise<void> {
    await this.#ask(() => this.#client.topicDelete(this.#key(topic, 'log'), this.#key(topic, 'meta'), this.#channel(topic), this.#publish))
  }

  async stop (): Promise<void> {
    this.#subscriber?.stop()
    this.#client.disconnect()
  }

  /** The topic in braces is the hash tag: all keys of a topic live on one node of a cluster. */
  #key (topic: string, what: string): string { return `${this.#options.prefix}{${topic}}:${what}` }
  #channel (topic: string): string { return `${this.#options.prefix}{${topic}}` }

  #createSubscriber (logger: LogLogger): RedisSubscriber | RedisClusterSubscriber {
    const { connection, commandTimeoutMs, canaryMs: intervalMs, prefix } = this.#options
    const client = this.#client
    const canary = `${prefix}canary:${randomUUID()}`
    const common = {
      logger,
      onMessage: (channel: string, message: Buffer) => this.#hear(channel, message),
      onRestored: (channels: readonly string[]) => { for (const channel of channels) this.#listeners.get(this.#topicOf(channel))?.onDoubt() }
    }
    if (client instanceof Cluster && isCluster(connection)) {
      return new RedisClusterSubscriber({
        ...common,
        cluster: client,
        connect: (host, port) => createMessageConnection({ ...connection.redisOptions, host, port }, commandTimeoutMs),
        canary: { prefix: canary, intervalMs, send: channel => client.spublish(channel, '') }
      })
    }
    return new RedisSubscriber({
      ...common,
      name: 'message',
      connection: createMessageConnection(connection as string | RedisOptions, commandTimeoutMs),
      canary: { intervalMs, channel: () => canary, send: channel => client.publish(channel, '') }
    })
  }

  #topicOf (channel: string): string { return channel.slice(this.#options.prefix.length + 1, -1) }

  #hear (channel: string, message: Buffer): void {
    const listener = this.#listeners.get(this.#topicOf(channel))
    const heard = parseRedisMessage(message)
    if (heard.kind === 'entries') listener?.onEntries(heard.entries)
    else if (heard.kind === 'closed') listener?.onClosed()
    else listener?.onDoubt()
  }

  async #waitForReplicas (topic: string): Promise<void> {
    const { replicas, replicasTimeoutMs } = this.#options
    if (replicas === 0) return
    const reached = await this.#ask(async () => this.#waitOn(this.#connectionOf(topic)).wait(replicas, replicasTimeoutMs))
    if (reached < replicas) throw new errors.TOPICS_LOG_UNAVAILABLE(`the events reached ${reached} of ${replicas} replicas within ${replicasTimeoutMs} ms; they may stay or be lost`)
  }

  #waitOn (connection: Redis): ReplicaWait {
    const wait = this.#waits.get(connection) ?? new ReplicaWait(connection)
    this.#waits.set(connection, wait)
    return wait
  }

  /** The connection that a topic's commands go through: WAIT counts the replicas that have what was written on it. */
  #connectionOf (topic: string): Redis {
    const client: Redis | Cluster = this.#client
    if (!(client instanceof Cluster)) return client
    const name = client.slots[slotOf(this.#channel(topic))]?.[0]
    const node = client.nodes('master').find(({ options }) => `${options.host}:${options.port}` === name)
    if (!node) throw new Error(`the cluster has no master for topic "${topic}" now`)
    return node
  }

  /** With eviction on, Redis drops topics when memory is short, and nobody is told. */
  async #warnOfEviction (logger: LogLogger): Promise<void> {
    try {
      const policy = /maxmemory_policy:(\S+)/.exec(await this.#client.info('memory'))?.[1]
      if (policy !== 'noeviction') logger.warn({ policy }, 'redis: maxmemory-policy must be "noeviction", or Redis may drop topics when memory is short: run CONFIG SET maxmemory-policy noeviction')
    } catch {
      // The connection went away again: asked anew when it is back.
    }
  }

  /** Whatever Redis answers but a result means that the log is not available now. */
  async #ask<T> (command: () => Promise<T>): Promise<T> {
    try {
      return await command()
    } catch (cause) {
      throw Object.assign(new errors.TOPICS_LOG_UNAVAILABLE(explain(cause as Error)), { cause })
    }
  }
}

/** What ioredis says while it has no connection tells of its options, not of Redis. */
function explain ({ message }: Error): string {
  return message.startsWith("Stream isn't writeable") ? 'there is no connection to Redis: is it running, and is its URL right?' : message
}

function checkOptions (given: Omit<RedisLogOptions, 'retention'>): Required<Omit<RedisLogOptions, 'retention'>> {
  const options = { ...DEFAULTS, ...given }
  const { connection, prefix, commandTimeoutMs, canaryMs, replicas, replicasTimeoutMs } = options
  const refuse = (name: string, range: string, seen: unknown): never => { throw new errors.TOPICS_BAD_OPTION(name, range, show(seen)) }
  const unknown = Object.keys(given).find(name => name !== 'connection' && !Object.hasOwn(DEFAULTS, name))
  if (unknown !== undefined) refuse(unknown, `one of connection, retention, ${Object.keys(DEFAULTS).join(', ')}`, 'an unknown option')
  if (typeof connection !== 'string' && (typeof connection !== 'object' || connection === null)) refuse('connection', 'a URL, ioredis options or { cluster: nodes }', connection)
  if (typeof prefix !== 'string' || /[{}\s]/.test(prefix)) refuse('prefix', 'a string without braces and white space', prefix)
  for (const [name, value, min, max] of [['commandTimeoutMs', commandTimeoutMs, 1, MAX_MS], ['canaryMs', canaryMs, 10, MAX_MS], ['replicas', replicas, 0, 100], ['replicasTimeoutMs', replicasTimeoutMs, 1, MAX_MS]] as const) {
    if (!Number.isInteger(value) || value < min || value > max) refuse(name, `an integer from ${min} to ${max}`, value)
  }
  return options
}

function retentionArgs ({ maxEvents, maxAgeMs, expireAfterMs, idempotencyMs }: Retention): (string | number)[] {
  return [maxEvents, maxAgeMs, expireAfterMs, idempotencyMs]
}

/** Entries that another program put there with ids or fields of its own are none of ours. */
function toEntry (idText: string, fields: readonly string[]): LogEntry[] {
  const id = parseEventId(idText)
  const values = new Map<string, string>()
  for (let at = 0; at < fields.length; at += 2) values.set(fields[at]!, fields[at + 1]!)
  const data = values.get('data')
  if (!id || id.n === 0 || data === undefined) return []
  const retry = values.get('retry')
  return [{ id, data, event: values.get('event'), retry: retry === undefined ? undefined : Number(retry) }]
}

function cutPage (entries: LogEntry[], { bytes }: PageLimit): LogEntry[] {
  let sum = 0
  const end = entries.findIndex((entry, at) => {
    sum += Buffer.byteLength(entry.data)
    return at > 0 && sum > bytes
  })
  return end < 0 ? entries : entries.slice(0, end)
}

function toLocation ([ms, n, born, closed, jumps, count, first, found]: LocateReply): Location {
  return {
    ends: { first: parseEventId(first), last: { ms: Number(ms), n: Number(n) }, count, bornMs: Number(born), isClosed: closed === 1, jumps: toJumps(jumps) },
    exists: found === 1
  }
}

/** `<ms>-<n>:<next number>`, joined by commas. */
function toJumps (text: string): Jump[] {
  return text.split(',').flatMap(part => {
    const [from, to] = part.split(':')
    const id = parseEventId(from!)
    return id ? [{ from: id, to: Number(to) }] : []
  })
}
