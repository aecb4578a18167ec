import type { Cluster, Redis } from 'ioredis'
import { ClusterClient } from '../../../common/redis/ioredis.ts'
import { RedisLink } from '../../../common/redis/redis-link.ts'
import { parseTarget } from '../../../common/redis/redis-target.ts'
import type { RedisTarget } from '../../../common/redis/redis-target.ts'
import { errors } from '../../errors.ts'
import { formatEventId, idsFrom, ORIGIN } from '../../event-id.ts'
import type { EventId } from '../../event-id.ts'
import { endOf } from '../../resume.ts'
import { createRetention } from '../../retention.ts'
import type { Retention, RetentionOf } from '../../retention.ts'
import { fingerprintOf, keyNameOf } from '../idempotency.ts'
import type { AppendLease, LeaseReply, LeaseRequest } from '../lease.ts'
import type {
  Appended,
  AppendOptions,
  LogEntry,
  LogHealth,
  LogLogger,
  Location,
  NewEvent,
  PageLimit,
  SeekStart,
  TopicEnds,
  TopicListener,
  TopicLog
} from '../topic-log.ts'
import { RedisChannels } from './redis-channels.ts'
import { checkOptions, refuseOption } from './redis-log-options.ts'
import type { RedisLogOptions, RedisLogSettings } from './redis-log-options.ts'
import { ReplicaWait } from './redis-replicas.ts'
import { leaseArgs, toEntry, toLeaseReply, toLocation } from './redis-replies.ts'
import { defineScripts } from './redis-scripts.ts'
import type { ScriptCommands } from './redis-scripts.ts'
import { firstFrom, numberBefore, numberBelow, seekNumber } from './redis-seek.ts'
import { slotOf } from './slot.ts'

/** Any topic will do to see whether the scripts may run. */
const PROBED_TOPIC = 'probe'

type Client = (Redis | Cluster) & ScriptCommands
/**
 * A topic is a Redis stream; one script appends and announces. Per process there is one connection for commands and one
 * for messages, whatever the number of clients.
 */
export class RedisLog implements TopicLog {
  readonly #link: RedisLink<Client>
  readonly #client: Client
  readonly #target: RedisTarget
  readonly #options: Omit<RedisLogSettings, 'connection' | 'prefix'>
  readonly #retentionOf: RetentionOf
  readonly #waits = new WeakMap<Redis, ReplicaWait>()
  readonly #publish: 'PUBLISH' | 'SPUBLISH'
  readonly #channels: RedisChannels

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
      probe: client =>
        client.topicLocate(this.#key(PROBED_TOPIC, 'log'), this.#key(PROBED_TOPIC, 'meta'), formatEventId(ORIGIN), 0, 0)
    })
    this.#client = this.#link.client
    const { commandTimeoutMs, canaryMs } = options
    this.#channels = new RedisChannels({
      target: this.#target,
      client: this.#client,
      trouble: this.#link.trouble,
      commandTimeoutMs,
      canaryMs
    })
  }

  /** True when Redis accepts commands and its messages arrive. */
  get isHealthy (): boolean { return this.#link.isReady && this.#channels.isHealthy }

  /** Before the start nothing is known. */
  get health (): LogHealth {
    const { canaryAgeMs, reconnects, replaced } = this.#channels.health
    const {
      reconnects: ofCommands,
      trouble: { problem }
    } = this.#link
    return {
      isHealthy: this.isHealthy,
      canaryAgeMs,
      reconnects: reconnects + ofCommands,
      replaced,
      ...(problem !== undefined && { problem })
    }
  }

  /** Settles when Redis answers, and after 3 s at the latest: the log then becomes available later. */
  async start (logger: LogLogger): Promise<void> {
    this.#client.on('ready', () => { void this.#warnOfEviction(logger) })
    await this.#link.start(logger, () => this.#channels.start(logger))
  }

  async append (topic: string, events: readonly NewEvent[], options: AppendOptions = {}): Promise<Appended> {
    const key = keyNameOf(options)
    const args = this.#appendArgs(topic, events, options.lease)
    if (key !== undefined) args.push(fingerprintOf(events))
    const [outcome, ms, n, count] = await this.#ask(() =>
      key === undefined
        ? this.#client.topicAppend(this.#key(topic, 'log'), this.#key(topic, 'meta'), args)
        : this.#client.topicAppendOnce(
          this.#key(topic, 'log'),
          this.#key(topic, 'meta'),
          this.#key(topic, `key:${key}`),
          args
        )
    )
    if (outcome === 'reused') throw new errors.TOPICS_IDEMPOTENCY_KEY_REUSED(options.idempotencyKey, topic)
    if (outcome === 'superseded') throw new errors.TOPICS_LEASE_LOST(topic)
    if (outcome === 'closed') throw new errors.TOPICS_CLOSED(topic)
    await this.#waitForReplicas(topic)
    if (outcome === 'done') return { ids: [], isRepeat: true }
    return { ids: idsFrom({ ms: Number(ms), n: Number(n) }, Number(count)), isRepeat: outcome === 'repeat' }
  }

  /**
   * For one argument of a command, which ioredis flattens: spread into the call, a large batch overflows the stack. All
   * are strings, as what throws while ioredis queues a command mixes up the answers of all others that are queued with
   * it.
   */
  #appendArgs (topic: string, events: readonly NewEvent[], lease: AppendLease | undefined): string[] {
    const args = [
      this.#channels.nameOf(topic),
      this.#publish,
      ...retentionArgs(this.#retentionOf(topic)),
      lease?.fence ?? '',
      lease?.accepted ?? ''
    ]
    for (const { event, data, retry } of events) args.push(event ?? '', data, retry ?? '')
    return args.map(String)
  }

  async read (topic: string, after: EventId, { count, bytes }: PageLimit): Promise<LogEntry[]> {
    for (let from = formatEventId(after); ;) {
      const [next, ...entries] = await this.#ask(() =>
        this.#client.topicPage(this.#key(topic, 'log'), from, count, bytes)
      )
      const page = entries.flatMap(([id, fields]) => toEntry(id, fields))
      // A page of nothing but another program's entries is not the end.
      if (page.length > 0 || next === '') return page
      from = next
    }
  }

  async locate (topic: string, id: EventId): Promise<Location> {
    const { maxAgeMs, expireAfterMs } = this.#retentionOf(topic)
    const reply = await this.#ask(() =>
      this.#client.topicLocate(
        this.#key(topic, 'log'),
        this.#key(topic, 'meta'),
        formatEventId(id),
        maxAgeMs,
        expireAfterMs
      )
    )
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
    try {
      await this.#ask(() => this.#channels.follow(topic, listener))
      return (await this.locate(topic, ORIGIN)).ends
    } catch (error) {
      await this.#channels.unfollow(topic, listener)
      throw error
    }
  }

  async unfollow (topic: string, listener: TopicListener): Promise<void> {
    await this.#channels.unfollow(topic, listener)
  }

  async close (topic: string): Promise<void> {
    const { expireAfterMs } = this.#retentionOf(topic)
    const keys = [this.#key(topic, 'log'), this.#key(topic, 'meta')] as const
    await this.#ask(() => this.#client.topicClose(...keys, this.#channels.nameOf(topic), this.#publish, expireAfterMs))
  }

  async lease (topic: string, request: LeaseRequest): Promise<LeaseReply> {
    const { expireAfterMs } = this.#retentionOf(topic)
    const args = [this.#channels.nameOf(topic), this.#publish, expireAfterMs, ...leaseArgs(request)].map(String)
    return toLeaseReply(
      await this.#ask(() => this.#client.topicLease(this.#key(topic, 'log'), this.#key(topic, 'meta'), args))
    )
  }

  async delete (topic: string): Promise<void> {
    await this.#ask(() =>
      this.#client.topicDelete(
        this.#key(topic, 'log'),
        this.#key(topic, 'meta'),
        this.#channels.nameOf(topic),
        this.#publish
      )
    )
  }

  async stop (): Promise<void> {
    this.#channels.stop()
    this.#link.stop()
  }

  /** The topic in braces is the hash tag: all keys of a topic are on one node of a cluster. */
  #key (topic: string, what: string): string { return `${this.#target.prefix}{${topic}}:${what}` }

  async #waitForReplicas (topic: string): Promise<void> {
    const { replicas, replicasTimeoutMs } = this.#options
    if (replicas === 0) return
    try {
      const reached = await this.#ask(async () =>
        this.#waitOn(this.#connectionOf(topic)).wait(replicas, replicasTimeoutMs)
      )
      if (reached < replicas) {
        throw new errors.TOPICS_LOG_UNAVAILABLE(
          `the events reached ${reached} of ${replicas} replicas within ${replicasTimeoutMs} ms; ` +
            'they may stay or be lost'
        )
      }
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
    const name = client.slots[slotOf(this.#channels.nameOf(topic))]?.[0]
    const node = client.nodes('master').find(({ options }) => `${options.host}:${options.port}` === name)
    if (!node) throw new Error(`the cluster has no master for topic "${topic}" now`)
    return node
  }

  /** With eviction on, Redis drops topics when memory is short, and nobody is told. */
  async #warnOfEviction (logger: LogLogger): Promise<void> {
    try {
      const policy = /maxmemory_policy:(\S+)/.exec(await this.#client.info('memory'))?.[1]
      if (policy !== 'noeviction') {
        logger.warn(
          { policy },
          'redis: maxmemory-policy must be "noeviction", or Redis may drop topics when memory is short: ' +
            'run CONFIG SET maxmemory-policy noeviction'
        )
      }
    } catch {
      // Not allowed to ask, or the connection went away again: asked again when it is back.
    }
  }

  /** Everything that Redis answers, except a result, means that the log is not available now. */
  async #ask<T> (command: () => Promise<T>): Promise<T> {
    try {
      return await this.#link.run(command)
    } catch (cause) {
      throw Object.assign(new errors.TOPICS_LOG_UNAVAILABLE(this.#link.explain(cause as Error)), {
        cause,
        mayBeDone: this.#link.mayBeDone(cause as Error)
      })
    }
  }
}

function retentionArgs ({ maxEvents, maxAgeMs, expireAfterMs, idempotencyMs }: Retention): (string | number)[] {
  return [maxEvents, maxAgeMs, expireAfterMs, idempotencyMs]
}
