import { randomUUID } from 'node:crypto'
import { slotOf } from './slot.ts'
import { show } from '../../../common/show.ts'
import { errors } from '../../errors.ts'
import { formatEventId, idsFrom, ORIGIN, parseEventId } from '../../event-id.ts'
import type { EventId } from '../../event-id.ts'
import { endOf } from '../../resume.ts'
import { createRetention } from '../../retention.ts'
import type { Retention, RetentionOf, RetentionRule } from '../../retention.ts'
import { ClusterClient } from '../../../common/redis/ioredis.ts'
import type { Cluster, Redis } from 'ioredis'
import { createMessageConnection } from '../../../common/redis/redis-connections.ts'
import { RedisLink } from '../../../common/redis/redis-link.ts'
import { parseTarget } from '../../../common/redis/redis-target.ts'
import { withoutUndefined } from '../../../common/given.ts'
import type { RedisConnection, RedisTarget, RefuseOption } from '../../../common/redis/redis-target.ts'
import { fingerprintOf, keyNameOf } from '../idempotency.ts'
import type { AppendLease, EndReason, LeaseReply, LeaseRequest } from '../lease.ts'
import { TopicListeners } from '../topic-listeners.ts'
import { RedisClusterSubscriber } from './redis-cluster-subscriber.ts'
import { toLogEntry } from './redis-entry.ts'
import { parseRedisMessage } from './redis-message.ts'
import { ReplicaWait } from './redis-replicas.ts'
import { defineScripts } from './redis-scripts.ts'
import type { LeaseScriptReply, LocateReply, ScriptCommands } from './redis-scripts.ts'
import { firstFrom, numberBefore, numberBelow, seekNumber } from './redis-seek.ts'
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
const RANGES = { commandTimeoutMs: [1, MAX_MS], canaryMs: [10, MAX_MS], replicas: [0, 100], replicasTimeoutMs: [1, MAX_MS] } as const

/** Any topic will do to see whether the scripts may run. */
const PROBED_TOPIC = 'probe'

type Client = (Redis | Cluster) & ScriptCommands
type Settings = Required<Omit<RedisLogOptions, 'retention'>>

/**
 * A topic is a Redis stream; one script appends and announces. Per process there is one connection for commands and one
 * for messages, whatever the number of clients.
 */
export class RedisLog implements TopicLog {
  readonly #link: RedisLink<Client>
  readonly #client: Client
  readonly #target: RedisTarget
  readonly #options: Omit<Settings, 'connection' | 'prefix'>
  readonly #retentionOf: RetentionOf
  readonly #listeners = new TopicListeners()
  readonly #waits = new WeakMap<Redis, ReplicaWait>()
  readonly #publish: 'PUBLISH' | 'SPUBLISH'
  #subscriber: RedisSubscriber | RedisClusterSubscriber | undefined

  /** Connects to nothing yet. Throws `TOPICS_BAD_OPTION`. */
  constructor ({ retention, ...given }: RedisLogOptions) {
    const { connection, prefix, ...options } = checkOptions(given)
    this.#options = options
    this.#target = parseTarget(connection, prefix, refuseOption)
    this.#retentionOf = createRetention(retention)
    this.#publish = this.#target.cluster ? 'SPUBLISH' : 'PUBLISH'
    this.#link = new RedisLink<Client>({
      target: this.#target,
      commandTimeoutMs: options.commandTimeoutMs,
      define: defineScripts,
      probe: client => client.topicLocate(this.#key(PROBED_TOPIC, 'log'), this.#key(PROBED_TOPIC, 'meta'), formatEventId(ORIGIN), 0, 0)
    })
    this.#client = this.#link.client
  }

  /** True when Redis accepts commands and its messages arrive. */
  get isHealthy (): boolean { return this.#link.isReady && this.#subscriber?.isHealthy === true }

  /** Before the start nothing is known. */
  get health (): LogHealth {
    const { canaryAgeMs = Infinity, reconnects = 0, replaced = 0 } = this.#subscriber ?? {}
    const { reconnects: ofCommands, trouble: { problem } } = this.#link
    return { isHealthy: this.isHealthy, canaryAgeMs, reconnects: reconnects + ofCommands, replaced, ...(problem !== undefined && { problem }) }
  }

  /** Settles when Redis answers, and after 3 s at the latest: the log then becomes available later. */
  async start (logger: LogLogger): Promise<void> {
    this.#listeners.start(logger)
    const subscriber = this.#createSubscriber()
    this.#subscriber = subscriber
    this.#client.on('ready', () => { void this.#warnOfEviction(logger) })
    await this.#link.start(logger, () => subscriber.start())
  }

  async append (topic: string, events: readonly NewEvent[], options: AppendOptions = {}): Promise<Appended> {
    const key = keyNameOf(options)
    const args = this.#appendArgs(topic, events, options.lease)
    if (key !== undefined) args.push(fingerprintOf(events))
    const [outcome, ms, n, count] = await this.#ask(() => key === undefined
      ? this.#client.topicAppend(this.#key(topic, 'log'), this.#key(topic, 'meta'), args)
      : this.#client.topicAppendOnce(this.#key(topic, 'log'), this.#key(topic, 'meta'), this.#key(topic, `key:${key}`), args))
    if (outcome === 'reused') throw new errors.TOPICS_IDEMPOTENCY_KEY_REUSED(options.idempotencyKey, topic)
    if (outcome === 'superseded') throw new errors.TOPICS_LEASE_LOST(topic)
    if (outcome === 'closed') throw new errors.TOPICS_CLOSED(topic)
    await this.#waitForReplicas(topic)
    if (outcome === 'done') return { ids: [], isRepeat: true }
    return { ids: idsFrom({ ms: Number(ms), n: Number(n) }, Number(count)), isRepeat: outcome === 'repeat' }
  }

  /**
   * For one argument of a command, which ioredis flattens: spread into the call, a large batch overflows the stack. All are
   * strings, as what throws while ioredis queues a command mixes up the answers of all others that are queued with it.
   */
  #appendArgs (topic: string, events: readonly NewEvent[], lease: AppendLease | undefined): string[] {
    const args = [this.#channel(topic), this.#publish, ...retentionArgs(this.#retentionOf(topic)), lease?.fence ?? '', lease?.accepted ?? '']
    for (const { event, data, retry } of events) args.push(event ?? '', data, retry ?? '')
    return args.map(String)
  }

  async read (topic: string, after: EventId, { count, bytes }: PageLimit): Promise<LogEntry[]> {
    for (let from = formatEventId(after); ;) {
      const [next, ...entries] = await this.#ask(() => this.#client.topicPage(this.#key(topic, 'log'), from, count, bytes))
      const page = entries.flatMap(([id, fields]) => toEntry(id, fields))
      // A page of nothing but another program's entries is not the end.
      if (page.length > 0 || next === '') return page
      from = next
    }
  }

  async locate (topic: string, id: EventId): Promise<Location> {
    const { maxAgeMs, expireAfterMs } = this.#retentionOf(topic)
    const reply = await this.#ask(() => this.#client.topicLocate(this.#key(topic, 'log'), this.#key(topic, 'meta'), formatEventId(id), maxAgeMs, expireAfterMs))
    return toLocation(reply, expireAfterMs)
  }

  async seek (topic: string, start: SeekStart): Promise<EventId> {
    const { ends } = await this.locate(topic, ORIGIN)
    const next = async (text: string) => this.#ask(() => firstFrom(this.#client, this.#key(topic, 'log'), text))
    if ('last' in start) return seekNumber(numberBelow(start.last, ends), ends, next)
    const first = await next(`${ends.nowMs - start.withinMs}-0`)
    return first === undefined ? endOf(ends) : seekNumber(numberBefore(first.n, ends), ends, next)
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
    if (!this.#listeners.delete(topic, listener)) return
    // Without a connection there is nothing to unsubscribe from, and a new one does not subscribe to it.
    await this.#subscriber?.unsubscribe(this.#channel(topic)).catch(() => {})
  }

  async close (topic: string): Promise<void> {
    const { expireAfterMs } = this.#retentionOf(topic)
    const keys = [this.#key(topic, 'log'), this.#key(topic, 'meta')] as const
    await this.#ask(() => this.#client.topicClose(...keys, this.#channel(topic), this.#publish, expireAfterMs))
  }

  async lease (topic: string, request: LeaseRequest): Promise<LeaseReply> {
    const { expireAfterMs } = this.#retentionOf(topic)
    const args = [this.#channel(topic), this.#publish, expireAfterMs, ...leaseArgs(request)].map(String)
    return toLeaseReply(await this.#ask(() => this.#client.topicLease(this.#key(topic, 'log'), this.#key(topic, 'meta'), args)))
  }

  async delete (topic: string): Promise<void> {
    await this.#ask(() => this.#client.topicDelete(this.#key(topic, 'log'), this.#key(topic, 'meta'), this.#channel(topic), this.#publish))
  }

  async stop (): Promise<void> {
    this.#subscriber?.stop()
    this.#link.stop()
  }

  /** The topic in braces is the hash tag: all keys of a topic are on one node of a cluster. */
  #key (topic: string, what: string): string { return `${this.#target.prefix}{${topic}}:${what}` }

  /** Messages know no databases: two logs that share a server and a prefix, but no keys, must not hear each other. */
  #channel (topic: string): string { return `${this.#target.prefix}{${topic}}:db${this.#target.database}` }
  #topicOf (channel: string): string { return channel.slice(this.#target.prefix.length + 1, channel.lastIndexOf('}')) }

  #createSubscriber (): RedisSubscriber | RedisClusterSubscriber {
    const { commandTimeoutMs, canaryMs: intervalMs } = this.#options
    const target = this.#target
    const client: Redis | Cluster = this.#client
    const canary = `${target.prefix}canary:${randomUUID()}`
    const common = {
      trouble: this.#link.trouble,
      onMessage: (channel: string, message: Buffer) => this.#hear(channel, message),
      onRestored: (channels: readonly string[]) => { for (const channel of channels) this.#listeners.tell(this.#topicOf(channel), listener => listener.onDoubt()) }
    }
    if (client instanceof ClusterClient) {
      return new RedisClusterSubscriber({
        ...common,
        cluster: client,
        connect: (host, port) => createMessageConnection({ options: { ...target.options, host, port } }, commandTimeoutMs),
        canary: { prefix: canary, intervalMs, send: channel => client.spublish(channel, '') }
      })
    }
    return new RedisSubscriber({
      ...common,
      name: 'message',
      connection: createMessageConnection(target, commandTimeoutMs),
      canary: { intervalMs, channel: () => canary, send: channel => client.publish(channel, '') }
    })
  }

  #hear (channel: string, message: Buffer): void {
    const heard = parseRedisMessage(message)
    this.#listeners.tell(this.#topicOf(channel), listener => {
      if (heard.kind === 'entries') listener.onEntries(heard.entries)
      else if (heard.kind === 'closed') listener.onClosed()
      else if (heard.kind === 'stop') listener.onStop(heard.fence)
      else listener.onDoubt()
    })
  }

  async #waitForReplicas (topic: string): Promise<void> {
    const { replicas, replicasTimeoutMs } = this.#options
    if (replicas === 0) return
    try {
      const reached = await this.#ask(async () => this.#waitOn(this.#connectionOf(topic)).wait(replicas, replicasTimeoutMs))
      if (reached < replicas) throw new errors.TOPICS_LOG_UNAVAILABLE(`the events reached ${reached} of ${replicas} replicas within ${replicasTimeoutMs} ms; they may stay or be lost`)
    } catch (error) {
      // The master has them, whatever became of the question how many others do.
      throw Object.assign(error as Error, { mayBeDone: true })
    }
  }

  #waitOn (connection: Redis): ReplicaWait {
    const wait = this.#waits.get(connection) ?? new ReplicaWait(connection)
    this.#waits.set(connection, wait)
    return wait
  }

  /** The connection that a topic's commands go through: WAIT counts the replicas that have what was written on it. */
  #connectionOf (topic: string): Redis {
    const client: Redis | Cluster = this.#client
    if (!(client instanceof ClusterClient)) return client
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
      // Not allowed to ask, or the connection went away again: asked again when it is back.
    }
  }

  /** Everything that Redis answers, except a result, means that the log is not available now. */
  async #ask<T> (command: () => Promise<T>): Promise<T> {
    try {
      return await this.#link.run(command)
    } catch (cause) {
      throw Object.assign(new errors.TOPICS_LOG_UNAVAILABLE(this.#link.explain(cause as Error)), { cause, mayBeDone: this.#link.mayBeDone(cause as Error) })
    }
  }
}

const refuseOption: RefuseOption = (name, allowed, seen) => { throw new errors.TOPICS_BAD_OPTION(name, allowed, seen) }

function checkOptions (options: Omit<RedisLogOptions, 'retention'>): Settings {
  const given = withoutUndefined(options)
  const { connection, prefix, ...numbers } = { ...DEFAULTS, ...given }
  const unknown = Object.keys(given).find(name => name !== 'connection' && !Object.hasOwn(DEFAULTS, name))
  if (unknown !== undefined) refuseOption(unknown, `one of connection, retention, ${Object.keys(DEFAULTS).join(', ')}`, 'an unknown option')
  if (typeof connection !== 'string' && (typeof connection !== 'object' || connection === null)) refuseOption('connection', 'a URL, ioredis options or { cluster: nodes }', show(connection))
  if (typeof prefix !== 'string' || /[{}\s]/.test(prefix)) refuseOption('prefix', 'a string without braces and white space', show(prefix))
  for (const [name, [min, max]] of Object.entries(RANGES)) {
    const value = numbers[name as keyof typeof RANGES]
    if (!Number.isInteger(value) || value < min || value > max) refuseOption(name, `an integer from ${min} to ${max}`, show(value))
  }
  return { connection, prefix, ...numbers }
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
  return [toLogEntry(id, { data, event: values.get('event'), retry: values.get('retry') })]
}

function toLocation ([ms, n, born, closed, jumps, count, first, found, past, now, reason, message, until]: LocateReply, expireAfterMs: number): Location {
  return {
    ends: {
      first: parseEventId(first),
      last: { ms: Number(ms), n: Number(n) },
      count,
      bornMs: Number(born),
      forgottenMs: Number(past),
      expireAfterMs,
      nowMs: Number(now),
      isClosed: closed === 1,
      reason: closed === 1 ? (reason || 'closed') as EndReason : undefined,
      message: message || undefined,
      leaseMs: until === '0' ? undefined : Math.max(0, Number(until) - Number(now)),
      jumps: toJumps(jumps)
    },
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

function leaseArgs (request: LeaseRequest): (string | number)[] {
  if (request.do === 'take') return ['take', request.holder, request.leaseMs, request.takeOver ? 1 : 0]
  if (request.do === 'renew') return ['renew', request.fence]
  if (request.do === 'end') return ['end', request.fence, request.reason, request.message]
  return request.do === 'stop' ? ['stop', request.fence ?? ''] : ['look']
}

function toLeaseReply ([outcome, fence, holder, remaining, accepted, mustStop, closed, reason, message]: LeaseScriptReply): LeaseReply {
  return {
    outcome,
    isClosed: closed === 1,
    reason: closed === 1 ? (reason || 'closed') as EndReason : undefined,
    message: message || undefined,
    fence: Number(fence),
    holder,
    remainingMs: Number(remaining),
    accepted: Number(accepted),
    mustStop: mustStop === 1
  }
}
