import type { Redis } from 'ioredis'
import { isReplyError, reasonOf } from '../../../common/redis/redis-errors.ts'
import { SilenceWatch } from '../../../common/redis/redis-silence.ts'
import type { RedisTrouble } from '../../../common/redis/redis-trouble.ts'

export interface RedisSubscriberInit {
  /** A connection of its own, not yet connected, that keeps no offline queue and does not resubscribe by itself. */
  connection: Redis
  /** Names it in the log. */
  name: string
  /** Sharded messages, of a cluster's node. Default false. */
  isSharded?: boolean
  canary: Canary
  trouble: RedisTrouble
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
/**
 * A canary that Redis has passed on and that was not heard after this many intervals and this long is lost: a busy
 * machine hears late.
 */
const LOST_INTERVALS = 2
const LOST_MS = 1_000
/** What was not heard for this many intervals, and this long, makes the connection unhealthy. */
const UNHEALTHY_INTERVALS = 3
const UNHEALTHY_MS = 3_000
/** Redis refused to let it listen: asked again after this long, twice as long each time. */
const FIRST_RETRY_MS = 250
const MAX_RETRY_MS = 8_000

/** A canary on its way, when Redis confirmed it, and the intervals since then. */
interface Flight { confirmedAt?: number, intervals: number }

/**
 * The one connection on which this process hears of its topics. It subscribes again after every reconnect, and then
 * reports that something may be missing. A canary goes through Redis and back: a connection that looks alive but is
 * deaf, as a failover can leave one, is found and replaced. A canary that Redis did not confirm says nothing about this
 * connection.
 */
export class RedisSubscriber {
  readonly #init: RedisSubscriberInit
  readonly #channels = new Set<string>()
  readonly #silence: SilenceWatch
  #isReady = false
  #wasReady = false
  #heardAt = performance.now()
  #canary: NodeJS.Timeout | undefined
  #canaryChannel = ''
  #flight: Flight | undefined
  #retry: NodeJS.Timeout | undefined
  #retryMs = FIRST_RETRY_MS
  #started: Promise<void> | undefined
  #restored: Promise<void> | undefined
  #isStopped = false
  #reconnects = 0
  #replaced = 0

  constructor (init: RedisSubscriberInit) {
    this.#init = init
    const { connection, name } = init
    connection.on(init.isSharded ? 'smessageBuffer' : 'messageBuffer', (channel: Buffer, message: Buffer) =>
      this.#hear(channel.toString(), message)
    )
    connection.on('ready', () => {
      this.#restored = this.#restore()
    })
    connection.on('moved', () => {
      init.onMoved?.()
    })
    connection.on('close', () => this.#lose())
    connection.on('error', (error: Error) =>
      this.#report(reasonOf(error), `the ${name} connection failed; it is tried again`)
    )
    this.#silence = new SilenceWatch(connection, () => this.#replace('silent'))
  }

  /** Topics and what else is listened to on this connection, the canary not counted. */
  get size (): number { return this.#channels.size }

  /** Ms since the canary was last heard. */
  get canaryAgeMs (): number { return Math.round(performance.now() - this.#heardAt) }

  /** Times the connection was lost and came back. */
  get reconnects (): number { return this.#reconnects }

  /** Deaf and silent connections replaced so far. */
  get replaced (): number { return this.#replaced }

  /** True when messages arrive: subscribed, and the canary heard lately. */
  get isHealthy (): boolean {
    return (
      this.#isReady && this.canaryAgeMs < Math.max(UNHEALTHY_MS, UNHEALTHY_INTERVALS * this.#init.canary.intervalMs)
    )
  }

  /**
   * Connects and starts the canary; called again, waits for the same. Settles also when Redis is away: it is tried
   * again.
   */
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
    clearTimeout(this.#retry)
    this.#silence.stop()
    this.#isReady = false
    this.#init.trouble.end(this.#init.name)
    this.#isStopped = true
    this.#init.connection.disconnect()
  }

  #hear (channel: string, message: Buffer): void {
    if (channel !== this.#canaryChannel) return this.#init.onMessage(channel, message)
    this.#heardAt = performance.now()
    this.#flight = undefined
  }

  /** One command for many channels; a node of a cluster accepts those of one slot at a time. */
  async #listen (channels: readonly string[]): Promise<void> {
    const { connection, isSharded } = this.#init
    if (isSharded) await Promise.all(channels.map(channel => connection.ssubscribe(channel)))
    else await connection.subscribe(...channels)
  }

  async #restore (): Promise<void> {
    const { canary, onRestored, trouble, name } = this.#init
    const channels = [...this.#channels]
    this.#canaryChannel = canary.channel()
    this.#flight = undefined
    try {
      await this.#listen([this.#canaryChannel])
      for (let at = 0; at < channels.length; at += CHUNK) await this.#listen(channels.slice(at, at + CHUNK))
    } catch (error) {
      return this.#restoreLater(error as Error)
    }
    this.#isReady = true
    this.#retryMs = FIRST_RETRY_MS
    this.#heardAt = performance.now()
    trouble.end(name)
    if (this.#wasReady) {
      this.#reconnects++
      onRestored(channels)
    }
    this.#wasReady = true
  }

  /**
   * A refusal lasts until somebody changes something: another connection would get the same answer, as often as it is
   * made.
   */
  #restoreLater (error: Error): void {
    const { connection, name, onMoved } = this.#init
    // Otherwise the connection went away again, and 'ready' comes with the next one.
    if (!isReplyError(error)) return connection.disconnect(true)
    if (error.message.startsWith('MOVED')) onMoved?.()
    else this.#report(error.message, `the ${name} connection is not allowed to listen; it is tried again`)
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => {
      if (connection.status === 'ready') this.#restored = this.#restore()
    }, this.#retryMs).unref()
    this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2)
  }

  #lose (): void {
    clearTimeout(this.#retry)
    if (this.#isReady) {
      this.#report('the connection was closed', `the ${this.#init.name} connection was closed; it is tried again`)
    }
    this.#isReady = false
  }

  #report (reason: string, message: string): void {
    if (!this.#isStopped) this.#init.trouble.begin(this.#init.name, reason, message)
  }

  #sing (): void {
    if (!this.#isReady) return
    if (this.#isDeaf()) {
      this.#replace('deaf')
      this.#init.connection.disconnect(true)
    } else if (this.#flight === undefined) {
      this.#send()
    }
  }

  /** One at a time; one that Redis did not confirm is given up, and the command connection reports why. */
  #send (): void {
    const flight: Flight = { intervals: 0 }
    this.#flight = flight
    this.#init.canary.send(this.#canaryChannel).then(
      () => { flight.confirmedAt = performance.now() },
      () => { if (this.#flight === flight) this.#flight = undefined }
    )
  }

  #isDeaf (): boolean {
    const flight = this.#flight
    if (flight?.confirmedAt === undefined) return false
    // Counted in intervals, too: between two of them the process has read what was waiting for it.
    return ++flight.intervals > LOST_INTERVALS && performance.now() - flight.confirmedAt >= LOST_MS
  }

  #replace (what: 'deaf' | 'silent'): void {
    this.#replaced++
    this.#isReady = false
    this.#report(
      `the ${this.#init.name} connection is ${what}`,
      `the ${this.#init.name} connection is ${what}; it is replaced`
    )
  }
}
