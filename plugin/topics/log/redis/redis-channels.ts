import { randomUUID } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import { ClusterClient } from '../../../common/redis/ioredis.ts'
import { createMessageConnection } from '../../../common/redis/redis-connections.ts'
import type { RedisTarget } from '../../../common/redis/redis-target.ts'
import type { RedisTrouble } from '../../../common/redis/redis-trouble.ts'
import { TopicListeners } from '../topic-listeners.ts'
import type { LogHealth, LogLogger, TopicListener } from '../topic-log.ts'
import { RedisClusterSubscriber } from './redis-cluster-subscriber.ts'
import { parseRedisMessage } from './redis-message.ts'
import { RedisSubscriber } from './redis-subscriber.ts'

export interface RedisChannelsInit {
  target: RedisTarget
  /** The connection for commands: it sends the probe and, in a cluster, knows where each channel is. */
  client: Redis | Cluster
  trouble: RedisTrouble
  commandTimeoutMs: number
  canaryMs: number
}

/** The messages that a log receives from Redis: one channel for each followed topic, with the topic's listener. */
export class RedisChannels {
  readonly #init: RedisChannelsInit
  readonly #listeners = new TopicListeners()
  #subscriber: RedisSubscriber | RedisClusterSubscriber | undefined

  /** Does not connect yet. */
  constructor (init: RedisChannelsInit) {
    this.#init = init
  }

  /** True when messages arrive; false before the start. */
  get isHealthy (): boolean { return this.#subscriber?.isHealthy === true }

  /** Unknown before the start. */
  get health (): Pick<LogHealth, 'canaryAgeMs' | 'reconnects' | 'replaced'> {
    const { canaryAgeMs = Infinity, reconnects = 0, replaced = 0 } = this.#subscriber ?? {}
    return { canaryAgeMs, reconnects, replaced }
  }

  /** Also settles if Redis is unavailable; connecting is then retried. */
  async start (logger: LogLogger): Promise<void> {
    this.#listeners.start(logger)
    this.#subscriber = this.#createSubscriber()
    await this.#subscriber.start()
  }

  stop (): void {
    this.#subscriber?.stop()
  }

  /**
   * Messages are not tied to a database: two logs that share a server and a prefix, but no keys, must not receive each
   * other's messages.
   */
  nameOf (topic: string): string {
    const { prefix, database } = this.#init.target
    return `${prefix}{${topic}}:db${database}`
  }

  /** Rejects if there is no connection; the listener is registered anyway, until `unfollow`. */
  async follow (topic: string, listener: TopicListener): Promise<void> {
    this.#listeners.set(topic, listener)
    await this.#subscriber?.subscribe(this.nameOf(topic))
  }

  /** Does nothing if the topic has another listener. */
  async unfollow (topic: string, listener: TopicListener): Promise<void> {
    if (!this.#listeners.delete(topic, listener)) return
    // Without a connection there is no subscription to cancel, and a new connection does not subscribe to it.
    await this.#subscriber?.unsubscribe(this.nameOf(topic)).catch(() => {})
  }

  #topicOf (channel: string): string {
    return channel.slice(this.#init.target.prefix.length + 1, channel.lastIndexOf('}'))
  }

  #createSubscriber (): RedisSubscriber | RedisClusterSubscriber {
    const { target, client, trouble, commandTimeoutMs, canaryMs: intervalMs } = this.#init
    const canary = `${target.prefix}canary:${randomUUID()}`
    const common = {
      trouble,
      onMessage: (channel: string, message: Buffer) => this.#hear(channel, message),
      onRestored: (channels: readonly string[]) => {
        for (const channel of channels) this.#listeners.tell(this.#topicOf(channel), listener => listener.onResync())
      }
    }
    if (client instanceof ClusterClient) {
      return new RedisClusterSubscriber({
        ...common,
        cluster: client,
        connect: (host, port) =>
          createMessageConnection({ options: { ...target.options, host, port } }, commandTimeoutMs),
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
      else listener.onResync()
    })
  }
}
