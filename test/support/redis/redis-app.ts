import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { injectSse } from '../../../plugin/testing/index.ts'
import type { InjectedEvent, InjectedStream } from '../../../plugin/testing/index.ts'
import { RedisLog } from '../../../plugin/topics/log/redis/index.ts'
import type { Published } from '../../../plugin/topics/index.ts'
import type { RedisLogOptions } from '../../../plugin/topics/log/redis/index.ts'
import { until } from '../until.ts'
import { RedisServer } from './redis-server.ts'
import { TcpProxy } from '../network/tcp-proxy.ts'
import { buildTopicsApp } from '../apps/topics-app.ts'

/** The error of every call while Redis is down. */
export const UNAVAILABLE = { code: 'TOPICS_LOG_UNAVAILABLE', statusCode: 503 }

/** Longer than any pause of a busy machine: if no answer ever arrives, a test uses a shorter one. */
export const COMMAND_TIMEOUT_MS = 60_000

/** Short enough for tests to wait for it. */
export const SHORT_COMMAND_TIMEOUT_MS = 3_000

/** A Redis server, a proxy in front of it, and an app with topics that connects through the proxy. */
export class RedisApp {
  readonly server: RedisServer
  readonly proxy: TcpProxy
  readonly log: RedisLog
  readonly app: FastifyInstance

  private constructor (server: RedisServer, proxy: TcpProxy, log: RedisLog, app: FastifyInstance) {
    this.server = server
    this.proxy = proxy
    this.log = log
    this.app = app
  }

  /** `args` are lines of the server's configuration. */
  static async start (
    t: Test,
    { args = [], log: options }: { args?: string[], log?: Partial<RedisLogOptions> } = {}
  ): Promise<RedisApp> {
    const server = await RedisServer.start(t, { args })
    const proxy = await TcpProxy.start(t, server.port)
    const log = new RedisLog({
      connection: proxy.url, commandTimeoutMs: COMMAND_TIMEOUT_MS, canaryMs: 1_000, ...options
    })
    const redis = new RedisApp(server, proxy, log, await buildTopicsApp(t, { log }))
    await redis.healthy()
    return redis
  }

  /** Publishes one event at a time and returns the ids. */
  async publish (topic: string, ...data: string[]): Promise<string[]> {
    const ids: string[] = []
    for (const text of data) ids.push(...(await this.app.topics.publish(topic, { data: text })).ids)
    return ids
  }

  /** Publishes one event as a careful publisher does: repeatedly, with the same key, until it is acknowledged. */
  async publishAtLast (topic: string, data: string): Promise<Published> {
    let published: Published | undefined
    await until(async () => {
      published = await this.app.topics.publish(
        topic,
        { data },
        { idempotencyKey: data.slice(0, 100) }
      ).catch((error: { statusCode?: number }) => {
        if (error.statusCode !== 503) throw error
        return undefined
      })
      return published !== undefined
    })
    return published!
  }

  /** Opens a stream; with a cursor it resumes. */
  connect (topic: string, cursor?: string): Promise<InjectedStream> {
    return injectSse(this.app, {
      url: `/events?topic=${topic}`, headers: cursor === undefined ? {} : { 'last-event-id': cursor }
    })
  }

  /** Settles when Redis answers and its messages arrive. */
  async healthy (): Promise<void> {
    await until(() => this.log.isHealthy)
  }
}

/** The data of events, or the names of in-band events. */
export function dataOf (events: readonly InjectedEvent[]): string[] {
  return events.map(({ event, data }) => event === 'message' ? data : event)
}

/** The data of a gap. */
export function gapIn (events: readonly InjectedEvent[]): unknown {
  return JSON.parse(events.find(({ event }) => event === 'stream.gap')?.data ?? 'null')
}
