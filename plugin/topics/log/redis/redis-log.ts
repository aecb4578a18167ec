import type { Cluster, Redis } from 'ioredis'
import { ClusterClient } from '../../../common/redis/ioredis.ts'
import { RedisLink } from '../../../common/redis/redis-link.ts'
import { parseTarget } from '../../../common/redis/redis-target.ts'
import type { RedisTarget } from '../../../common/redis/redis-target.ts'
import { badOption, errors } from '../../errors.ts'
import { formatEventId, idsFrom, ORIGIN } from '../../ids/event-id.ts'
import type { EventId } from '../../ids/event-id.ts'
import { endOf } from '../../ids/resume.ts'
import { createRetention } from '../../retention.ts'
import type { Retention, RetentionOf } from '../../retention.ts'
import { appendError } from '../append-error.ts'
import { keyNameOf } from '../idempotency.ts'
import type { LeaseReply, LeaseRequest } from '../lease.ts'
import type {
  Appended,
  AppendOptions,
  DeleteOptions,
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
import { RedisAppends } from './redis-appends.ts'
import { RedisChannels } from './redis-channels.ts'
import { resolveRedisLogOptions } from './redis-log-options.ts'
import type { RedisLogOptions, RedisLogSettings } from './redis-log-options.ts'
import { ReplicaWait } from './redis-replicas.ts'
import { leaseArgs, toEntry, toLeaseReply, toLocation } from './redis-replies.ts'
import { defineScripts } from './scripts/redis-scripts.ts'
import type { ScriptCommands } from './scripts/redis-scripts.ts'
import { firstFrom, numberBefore, numberBelow, seekNumber } from './redis-seek.ts'
import { slotOf } from './slot.ts'

/** Any topic will do to check whether the scripts may run. */
const PROBED_TOPIC = 'probe'

type Client = (Redis | Cluster) & ScriptCommands
/**
 * The log in Redis. A topic is a Redis stream; one script appends events and announces them. A process has one
 * connection for commands and one for messages, however many clients it has.
 */
export class RedisLog implements TopicLog {
  readonly #link: RedisLink<Client>
  readonly #client: Client
  readonly #target: RedisTarget
  readonly #options: Omit<RedisLogSettings, 'connection' | 'prefix' | 'retention'>
  readonly #retentionOf: RetentionOf
  readonly #waits = new WeakMap<Redis, ReplicaWait>()
  readonly #publish: 'PUBLISH' | 'SPUBLISH'
  readonly #channels: RedisChannels
  readonly #appends: RedisAppends

  /** Does not connect yet. Throws `TOPICS_BAD_OPTION`. */
  constructor (given: RedisLogOptions) {
    const { connection, prefix, retention, ...options } = resolveRedisLogOptions(given)
    this.#options = options
    this.#target = parseTarget(connection, prefix, badOption)
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
    this.#appends = new RedisAppends({
      client: this.#client,
      keyOf: (topic, what) => this.#key(topic, what),
      headOf: topic => [this.#channels.nameOf(topic), this.#publish, ...retentionArgs(this.#retentionOf(topic))]
    })
  }

  /** True if Redis accepts commands and its messages arrive. */
  get isHealthy (): boolean { return this.#link.isReady && this.#channels.isHealthy }

  /** Unknown before the start. */
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

  /** Settles when Redis answers, after 3 s at the latest: the log then becomes available later. */
  async start (logger: LogLogger): Promise<void> {
    this.#client.on('ready', () => { void this.#warnOfEviction(logger) })
    await this.#link.start(logger, () => this.#channels.start(logger))
  }

  async append (topic: string, events: readonly NewEvent[], options: AppendOptions = {}): Promise<Appended> {
    const terms = { key: keyNameOf(options), lease: options.lease }
    const { outcome, first, count } = await this.#write(topic, () => this.#appends.append(topic, events, terms))
    if (outcome === 'reused' || outcome === 'superseded' || outcome === 'closed') {
      throw appendError(outcome, topic, options.idempotencyKey)
    }
    await this.#waitForReplicas(topic)
    if (outcome === 'done') return { ids: [], isRepeat: true }
    return { ids: idsFrom(first, count), isRepeat: outcome === 'repeat' }
  }

  async read (topic: string, after: EventId, { count, bytes }: PageLimit): Promise<LogEntry[]> {
    for (let from = formatEventId(after); ;) {
      const [next, ...entries] = await this.#ask(() =>
        this.#client.topicPage(this.#key(topic, 'log'), from, count, bytes)
      )
      const page = entries.flatMap(([id, fields]) => toEntry(id, fields))
      // A page that contains only entries of another program is not the end.
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
    return toLocation(reply)
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
    this.#appends.flush(topic)
    const { expireAfterMs } = this.#retentionOf(topic)
    const keys = [this.#key(topic, 'log'), this.#key(topic, 'meta')] as const
    await this.#ask(() => this.#client.topicClose(...keys, this.#channels.nameOf(topic), this.#publish, expireAfterMs))
  }

  async lease (topic: string, request: LeaseRequest): Promise<LeaseReply> {
    this.#appends.flush(topic)
    const { expireAfterMs } = this.#retentionOf(topic)
    const args = [this.#channels.nameOf(topic), this.#publish, expireAfterMs, ...leaseArgs(request)].map(String)
    const keys = [this.#key(topic, 'log'), this.#key(topic, 'meta')] as const
    const reply = toLeaseReply(await this.#ask(() => this.#client.topicLease(...keys, args)))
    // A repeated end finds the topic closed. A lease needs no wait: its holder restores it.
    const isDone = reply.outcome === 'ok' || reply.outcome === 'closed'
    if (isDone && (request.do === 'end' || request.do === 'stop')) await this.#waitForReplicas(topic)
    return reply
  }

  async delete (topic: string, { ifClosed = false }: DeleteOptions = {}): Promise<boolean> {
    this.#appends.flush(topic)
    const keys = [this.#key(topic, 'log'), this.#key(topic, 'meta')] as const
    const args = [this.#channels.nameOf(topic), this.#publish, Number(ifClosed)] as const
    return (await this.#ask(() => this.#client.topicDelete(...keys, ...args))) === 1
  }

  /**
   * Checks whether Redis would accept a publish: the user has the permissions, the server is not a replica, its memory
   * is not full, and `replicas` are connected. Nothing stays in Redis. Rejects with `TOPICS_LOG_UNAVAILABLE`.
   */
  async checkWrites (): Promise<void> {
    const channel = this.#channels.nameOf(PROBED_TOPIC)
    await this.#ask(() => this.#client.topicCheck(this.#key(PROBED_TOPIC, 'check'), channel, this.#publish))
    await this.#waitForReplicas(PROBED_TOPIC)
  }

  async stop (): Promise<void> {
    this.#channels.stop()
    this.#link.stop()
  }

  /** The topic in braces is the hash tag: all keys of a topic are on the same node of a cluster. */
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
      // The master has the events, even if it is unknown how many replicas have them.
      throw Object.assign(error as Error, { mayBeDone: true })
    }
  }

  #waitOn (connection: Redis): ReplicaWait {
    const wait = this.#waits.get(connection) ?? new ReplicaWait(connection)
    this.#waits.set(connection, wait)
    return wait
  }

  /**
   * The connection for commands about a topic: WAIT counts the replicas that have what was written on that connection.
   */
  #connectionOf (topic: string): Redis {
    const client: Redis | Cluster = this.#client
    if (!(client instanceof ClusterClient)) return client
    const name = client.slots[slotOf(this.#channels.nameOf(topic))]?.[0]
    const node = client.nodes('master').find(({ options }) => `${options.host}:${options.port}` === name)
    if (!node) throw new Error(`the cluster has no master for topic "${topic}" now`)
    return node
  }

  /** With eviction enabled, Redis silently deletes topics when memory is short. */
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
      // No permission to ask, or the connection was lost again: repeated when it is back.
    }
  }

  async #ask<T> (command: () => Promise<T>): Promise<T> {
    return this.#orUnavailable(this.#link.run(command))
  }

  async #write<T> (topic: string, command: () => Promise<T>): Promise<T> {
    return this.#orUnavailable(this.#link.write(topic, command))
  }

  /** Any reply of Redis except a result means that the log is currently unavailable. */
  async #orUnavailable<T> (reply: Promise<T>): Promise<T> {
    try {
      return await reply
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
