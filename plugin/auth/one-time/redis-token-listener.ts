import { ClusterClient } from '../../common/redis/ioredis.ts'
import type { Cluster, Redis } from 'ioredis'
import { createMessageConnection } from '../../common/redis/redis-connections.ts'
import { isReplyError, reasonOf } from '../../common/redis/redis-errors.ts'
import { SilenceWatch } from '../../common/redis/redis-silence.ts'
import type { RedisTarget } from '../../common/redis/redis-target.ts'
import type { RedisTrouble } from '../../common/redis/redis-trouble.ts'

export interface TokenListenerInit {
  target: RedisTarget
  /** The connection for commands. In a cluster it knows the nodes. */
  client: Redis | Cluster
  commandTimeoutMs: number
  channel: string
  trouble: RedisTrouble
  onMessage: (text: string) => void
  /** Called when the connection was lost and restored: messages may be missing. */
  onRestored: () => void
}

/** Delay before subscribing to the channel is tried again; it doubles each time. */
const FIRST_RETRY_MS = 250
const MAX_RETRY_MS = 8_000
/** The name of this connection in reports of problems. */
const MESSAGE = 'token message'

/**
 * The connection on which a token store receives revocations from other processes. A cluster forwards a message to all
 * of its nodes: the listener connects to any of them, and to another one after each loss. The message connection of a
 * cluster client itself does not report that it was replaced, and never detects that it has fallen silent.
 */
export class RedisTokenListener {
  readonly #init: TokenListenerInit
  readonly #connection: Redis
  readonly #silence: SilenceWatch
  #timer: NodeJS.Timeout | undefined
  #retryMs = FIRST_RETRY_MS
  #listening: Promise<void> | undefined
  #wasListening = false
  #isStopped = false

  /** Does not connect yet. */
  constructor (init: TokenListenerInit) {
    this.#init = init
    this.#connection = createMessageConnection(init.target, init.commandTimeoutMs)
    this.#connection.on('message', (_channel: string, text: string) => init.onMessage(text))
    this.#connection.on('ready', () => { this.#listening = this.#listen() })
    this.#connection.on('close', () => this.#lose())
    this.#connection.on('error', (error: Error) => this.#report(reasonOf(error), 'failed; retrying'))
    this.#silence = new SilenceWatch(this.#connection, () =>
      this.#report('the message connection is silent', 'is silent; replacing it')
    )
  }

  /** Settles when it is subscribed or when that failed for the first time; in a cluster, not before a node is known. */
  async start (): Promise<void> {
    const { client } = this.#init
    if (client instanceof ClusterClient) await new Promise(resolve => { client.once('ready', resolve) })
    if (this.#isStopped) return
    this.#moveOn()
    await this.#connection.connect().then(() => this.#listening, () => {})
  }

  stop (): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    this.#silence.stop()
    this.#connection.disconnect()
  }

  #lose (): void {
    clearTimeout(this.#timer)
    this.#moveOn()
  }

  /** Moves on to another node of a cluster; ioredis reads the options with each connect. */
  #moveOn (): void {
    const { client } = this.#init
    if (!(client instanceof ClusterClient)) return
    const nodes = client.nodes()
    const node = nodes[Math.floor(Math.random() * nodes.length)]
    if (node) Object.assign(this.#connection.options, { host: node.options.host, port: node.options.port })
  }

  async #listen (): Promise<void> {
    try {
      await this.#connection.subscribe(this.#init.channel)
    } catch (error) {
      return this.#listenLater(error as Error)
    }
    this.#retryMs = FIRST_RETRY_MS
    this.#init.trouble.end(MESSAGE)
    if (this.#wasListening) this.#init.onRestored()
    this.#wasListening = true
  }

  /** An error reply lasts until somebody changes the configuration. */
  #listenLater (error: Error): void {
    // Otherwise the connection was lost or does not answer, and 'ready' follows with the next one.
    if (!isReplyError(error)) return this.#connection.disconnect(!this.#isStopped)
    this.#init.trouble.begin(MESSAGE, error.message, 'the token store cannot listen for revocations; retrying')
    this.#timer = setTimeout(() => { this.#listening = this.#listen() }, this.#retryMs).unref()
    this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2)
  }

  #report (reason: string, what: string): void {
    if (!this.#isStopped) this.#init.trouble.begin(MESSAGE, reason, `the message connection of the token store ${what}`)
  }
}
