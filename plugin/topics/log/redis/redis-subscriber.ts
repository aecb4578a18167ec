import type { Redis } from 'ioredis'
import { isReplyError, reasonOf } from '../../../common/redis/redis-errors.ts'
import { SilenceWatch } from '../../../common/redis/redis-silence.ts'
import type { RedisTrouble } from '../../../common/redis/redis-trouble.ts'

export interface RedisSubscriberInit {
  /** A separate connection, not connected yet, without an offline queue and without automatic resubscription. */
  connection: Redis
  /** The name of the connection in the log. */
  name: string
  /** True for sharded messages, on a node of a cluster. Default false. */
  isSharded?: boolean
  canary: Canary
  trouble: RedisTrouble
  onMessage: (channel: string, message: Buffer) => void
  /** Called when the connection was lost and restored; messages of these channels may be missing. */
  onRestored: (channels: readonly string[]) => void
  /** Called when a cluster node gave away a slot, and with it some of the channels. */
  onMoved?: () => void
}

/** The probe: a message that is sent through Redis and back. */
export interface Canary {
  intervalMs: number
  /** The channel of the probe, requested for every connection: in a cluster it must be one that the node has. */
  channel: () => string
  send: (channel: string) => Promise<unknown>
}

/** Channels subscribed with one command after a reconnect. */
const CHUNK = 500
/**
 * A probe that Redis has forwarded but that was not received after this many intervals and this long is lost: a busy
 * machine receives late.
 */
const LOST_INTERVALS = 2
const LOST_MS = 1_000
/** If no probe was received for this many intervals, and this long, the connection is unhealthy. */
const UNHEALTHY_INTERVALS = 3
const UNHEALTHY_MS = 3_000
/** Delay before a rejected subscription is tried again; it doubles each time. */
const FIRST_RETRY_MS = 250
const MAX_RETRY_MS = 8_000

/** A probe on its way: when Redis confirmed it, and the intervals since then. */
interface Flight { confirmedAt?: number, intervals: number }

/**
 * The only connection on which this process receives messages about its topics. It subscribes again after every
 * reconnect, and then reports that messages may be missing. A probe is sent through Redis and back, to detect and
 * replace a connection that looks alive but receives nothing, as after some failovers. A probe that Redis did not
 * confirm says nothing about this connection.
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
      this.#report(reasonOf(error), `the ${name} connection failed; retrying`)
    )
    this.#silence = new SilenceWatch(connection, () => this.#replace('is silent'))
  }

  /** Number of channels on this connection, without that of the probe. */
  get size (): number { return this.#channels.size }

  /** Milliseconds since the probe was last received. */
  get canaryAgeMs (): number { return Math.round(performance.now() - this.#heardAt) }

  /** How many times the connection was lost and restored. */
  get reconnects (): number { return this.#reconnects }

  /** Number of connections that received or answered nothing and were replaced. */
  get replaced (): number { return this.#replaced }

  /** True if messages arrive: it is subscribed, and the probe was received recently. */
  get isHealthy (): boolean {
    return (
      this.#isReady && this.canaryAgeMs < Math.max(UNHEALTHY_MS, UNHEALTHY_INTERVALS * this.#init.canary.intervalMs)
    )
  }

  /**
   * Connects and starts the probe; further calls wait for the same. Also settles if Redis is unavailable; connecting is
   * then retried.
   */
  start (): Promise<void> {
    this.#started ??= this.#start()
    return this.#started
  }

  async #start (): Promise<void> {
    this.#canary = setInterval(() => this.#sendProbe(), this.#init.canary.intervalMs).unref()
    await this.#init.connection.connect().catch(() => {})
    await this.#restored
  }

  /** Rejects if there is no connection; nothing is subscribed then. */
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

  /** One command for many channels; a cluster node accepts only those of one slot at a time. */
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

  /** A rejection lasts until somebody changes the configuration: any further connection would be rejected as well. */
  #restoreLater (error: Error): void {
    const { connection, name, onMoved } = this.#init
    // Otherwise the connection was lost again, and 'ready' follows with the next one.
    if (!isReplyError(error)) return connection.disconnect(true)
    if (error.message.startsWith('MOVED')) onMoved?.()
    else this.#report(error.message, `the ${name} connection is not allowed to subscribe; retrying`)
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => {
      if (connection.status === 'ready') this.#restored = this.#restore()
    }, this.#retryMs).unref()
    this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2)
  }

  #lose (): void {
    clearTimeout(this.#retry)
    if (this.#isReady) {
      this.#report('the connection was closed', `the ${this.#init.name} connection was closed; retrying`)
    }
    this.#isReady = false
  }

  #report (reason: string, message: string): void {
    if (!this.#isStopped) this.#init.trouble.begin(this.#init.name, reason, message)
  }

  #sendProbe (): void {
    if (!this.#isReady) return
    if (this.#isDeaf()) {
      this.#replace('receives no messages')
      this.#init.connection.disconnect(true)
    } else if (this.#flight === undefined) {
      this.#send()
    }
  }

  /** One at a time; a probe that Redis did not confirm is abandoned, and the command connection reports the reason. */
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
    // Counted in intervals, too: between two of them the process has read everything that was waiting.
    return ++flight.intervals > LOST_INTERVALS && performance.now() - flight.confirmedAt >= LOST_MS
  }

  #replace (what: 'receives no messages' | 'is silent'): void {
    this.#replaced++
    this.#isReady = false
    this.#report(
      `the ${this.#init.name} connection ${what}`,
      `the ${this.#init.name} connection ${what}; replacing it`
    )
  }
}
