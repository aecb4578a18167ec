import type { Redis } from 'ioredis'
import type { LogLogger } from '../topic-log.ts'

export interface RedisSubscriberInit {
  /** A connection of its own, not yet connected, that keeps no offline queue and does not resubscribe by itself. */
  connection: Redis
  /** Names it in the log. */
  name: string
  /** Sharded messages, of a cluster's node. Default false. */
  isSharded?: boolean
  canary: Canary
  logger: LogLogger
  onMessage: (channel: string, message: Buffer) => void
  /** The connection was lost and is back; messages of these channels may be missing. */
  onRestored: (channels: readonly string[]) => void
  /** A cluster's node gave a slot away, and with it some of the channels. */
  onMoved?: () => void
}

/** A message that goes through Redis and back. */
export interface Canary {
  intervalMs: number
  /** The channel to listen on, asked again for every connection: in a cluster it must be one that the node has. */
  channel: () => string
  send: (channel: string) => Promise<unknown>
}

/** Channels subscribed with one command after a reconnect. */
const CHUNK = 500
/** A canary that was not heard for so many intervals is dead. */
const SILENT_INTERVALS = 2

/**
 * The one connection on which this process hears of its topics. It subscribes again after every reconnect, and then says
 * that something may be missing. A canary goes through Redis and back: a connection that looks alive but is deaf, as a
 * failover can leave one, is found and replaced.
 */
export class RedisSubscriber {
  readonly #init: RedisSubscriberInit
  readonly #channels = new Set<string>()
  #isReady = false
  #wasReady = false
  #heardAt = Date.now()
  #canary: NodeJS.Timeout | undefined
  #canaryChannel = ''
  #started: Promise<void> | undefined
  #restored: Promise<void> | undefined
  #reconnects = 0
  #replaced = 0

  constructor (init: RedisSubscriberInit) {
    this.#init = init
    const { connection, logger, name } = init
    connection.on(init.isSharded ? 'smessageBuffer' : 'messageBuffer', (channel: Buffer, message: Buffer) => this.#hear(channel.toString(), message))
    connection.on('ready', () => { this.#restored = this.#restore() })
    connection.on('moved', () => { init.onMoved?.() })
    connection.on('close', () => { this.#isReady = false })
    connection.on('error', (err: Error) => logger.warn({ err }, `redis: the ${name} connection failed; it is tried again`))
  }

  /** Topics and what else is listened to on this connection, the canary not counted. */
  get size (): number { return this.#channels.size }

  /** Ms since the canary was last heard. */
  get canaryAgeMs (): number { return Date.now() - this.#heardAt }

  /** Times the connection was lost and came back. */
  get reconnects (): number { return this.#reconnects }

  /** Deaf connections replaced so far. */
  get replaced (): number { return this.#replaced }

  /** True when messages arrive: subscribed, and the canary heard lately. */
  get isHealthy (): boolean {
    return this.#isReady && this.canaryAgeMs < (SILENT_INTERVALS + 1) * this.#init.canary.intervalMs
  }

  /** Connects and starts the canary; called again, waits for the same. Settles also when Redis is away: it is tried again. */
  start (): Promise<void> {
    this.#started ??= this.#start()
    return this.#started
  }

  async #start (): Promise<void> {
    this.#canary = setInterval(() => this.#sing(), this.#init.canary.intervalMs).unref()
    await this.#init.connection.connect().catch(() => {})
    await this.#restored
  }

  /** Rejects when the connection is away; nothing is subscribed then. */
  async subscribe (channel: string): Promise<void> {
    this.#channels.add(channel)
    try {
      await this.#listen([channel])
    } catch (error) {
      this.#channels.delete(channel)
      throw error
    }
  }

  async unsubscribe (channel: string): Promise<void> {
    this.#channels.delete(channel)
    const { connection, isSharded } = this.#init
    if (this.#isReady) await (isSharded ? connection.sunsubscribe(channel) : connection.unsubscribe(channel))
  }

  stop (): void {
    clearInterval(this.#canary)
    this.#isReady = false
    this.#init.connection.disconnect()
  }

  #hear (channel: string, message: Buffer): void {
    if (channel === this.#canaryChannel) this.#heardAt = Date.now()
    else this.#init.onMessage(channel, message)
  }

  /** One command for many channels; a cluster's node takes those of one slot at a time. */
  async #listen (channels: readonly string[]): Promise<void> {
    const { connection, isSharded } = this.#init
    if (isSharded) await Promise.all(channels.map(channel => connection.ssubscribe(channel)))
    else await connection.subscribe(...channels)
  }

  async #restore (): Promise<void> {
    const { canary, onRestored } = this.#init
    const channels = [...this.#channels]
    this.#canaryChannel = canary.channel()
    try {
      await this.#listen([this.#canaryChannel])
      for (let at = 0; at < channels.length; at += CHUNK) await this.#listen(channels.slice(at, at + CHUNK))
    } catch {
      // It went away again, or the channels have moved to another node; 'ready' comes anew.
      this.#init.connection.disconnect(true)
      return
    }
    this.#isReady = true
    this.#heardAt = Date.now()
    if (this.#wasReady) {
      this.#reconnects++
      onRestored(channels)
    }
    this.#wasReady = true
  }

  #sing (): void {
    const { canary, connection, logger, name } = this.#init
    if (this.#isReady && this.canaryAgeMs > SILENT_INTERVALS * canary.intervalMs) {
      this.#replaced++
      this.#isReady = false
      logger.warn({ canaryAgeMs: this.canaryAgeMs }, `redis: the ${name} connection is deaf; it is replaced`)
      connection.disconnect(true)
    }
    // The command connection tells of its own troubles; a canary that cannot be sent is simply not heard.
    if (this.#isReady) canary.send(this.#canaryChannel).catch(() => {})
  }
}
