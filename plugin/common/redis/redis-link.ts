import { ClusterClient } from './ioredis.ts'
import type { Cluster, Redis } from 'ioredis'
import { createCommandConnection } from './redis-connections.ts'
import { isCutOff, isNotSent, isReplyError, isWriteRefusal, reasonOf, TIMED_OUT } from './redis-errors.ts'
import { SilenceWatch } from './redis-silence.ts'
import type { RedisTarget } from './redis-target.ts'
import { RedisTrouble } from './redis-trouble.ts'
import type { TroubleLogger } from './redis-trouble.ts'
import { WriteRefusal, WRITES } from './write-refusal.ts'

export interface RedisLinkInit<C> {
  target: RedisTarget
  commandTimeoutMs: number
  /** Adds the scripts to the connection. */
  define: (client: Redis | Cluster) => C
  /** Runs a script that only reads, so that missing permissions show at the start and not with the first publish. */
  probe: (client: C) => Promise<unknown>
}

/**
 * How long a start waits for Redis, well below the 10 s that Fastify allows a plugin; after that the application starts
 * without it.
 */
const START_MS = 3_000
const LOWEST_VERSION = 7
/**
 * How often a cluster is asked which node has which slots, so that a promoted replica is found even if no command
 * fails.
 */
const SLOTS_REFRESH_MS = 2_000
/** How long until a server that was rejected is checked again. */
const RECHECK_MS = 1_000
const COMMAND = 'command'
const RIGHTS = 'rights'

/**
 * The connection for commands of a log or a token store, and its current problem: not connected, silent, rejected by
 * Redis, or a server that is too old.
 */
export class RedisLink<C extends Redis | Cluster> {
  readonly client: C
  readonly trouble: RedisTrouble
  readonly #init: RedisLinkInit<C>
  readonly #watches = new Map<Redis, SilenceWatch>()
  readonly #refusal: WriteRefusal
  #timesReady = 0
  #checked: Promise<void> | undefined
  #again: NodeJS.Timeout | undefined
  #slotsRefresh: NodeJS.Timeout | undefined
  #tooOld: string | undefined
  #isStopped = false

  /** Does not connect yet. */
  constructor (init: RedisLinkInit<C>) {
    this.#init = init
    this.trouble = new RedisTrouble(init.target.address)
    this.#refusal = new WriteRefusal(this.trouble)
    this.client = init.define(createCommandConnection(init.target, init.commandTimeoutMs))
  }

  /** True if commands are accepted, even while Redis rejects writes: stored data can still be read. */
  get isReady (): boolean {
    return this.client.status === 'ready' && this.trouble.names.every(name => name === WRITES)
  }

  /** How many times the connection was lost and restored. */
  get reconnects (): number { return Math.max(0, this.#timesReady - 1) }

  /**
   * Connects, together with `others`. Settles when everything works, after 3 s at the latest; whatever is unavailable
   * then is retried indefinitely.
   */
  async start (logger: TroubleLogger, others: () => Promise<unknown>): Promise<void> {
    this.trouble.start(logger)
    this.#listen(this.client)
    const ready = this.client.connect().then(
      () => this.#checked,
      () => {}
    )
    if (
      (await isLate(Promise.all([ready, others()]), START_MS)) &&
      this.client.status !== 'ready' &&
      this.trouble.problem === undefined
    ) {
      this.trouble.begin(COMMAND, `no reply within ${START_MS} ms`, 'no reply yet; retrying')
    }
  }

  /** Rejects with the error of the command; after `stop`, or for a server that is too old, with an error of its own. */
  async run<T> (command: () => Promise<T>): Promise<T> {
    // ioredis has the same message for a command that was not sent and for one whose connection was lost.
    if (this.#isStopped) throw new Error('the connection to Redis was closed by its owner: nothing was sent')
    if (this.#tooOld !== undefined) throw new Error(this.#tooOld)
    try {
      return await command()
    } catch (error) {
      this.#noticeLoss(error as Error)
      throw error
    }
  }

  /**
   * The same for a command that writes `key`: if Redis rejects the write, its reason is reported until a write
   * succeeds.
   */
  async write<T> (key: string, command: () => Promise<T>): Promise<T> {
    try {
      const reply = await this.run(command)
      this.#refusal.end(key)
      return reply
    } catch (error) {
      if (isWriteRefusal(error as Error)) this.#refusal.begin(key, reasonOf(error as Error))
      throw error
    }
  }

  /** True if Redis may have executed a command that failed with this error of ioredis. */
  mayBeDone ({ message }: Error): boolean {
    return message === TIMED_OUT || isCutOff(message)
  }

  /** Explains an error of ioredis, including whether the command may have been executed anyway. */
  explain ({ message }: Error): string {
    const { target: { address }, commandTimeoutMs } = this.#init
    const reason = this.trouble.problem
    if (isNotSent(message)) {
      return `there is no connection to Redis at ${address}: ${reason ?? 'is it running, and is its URL right?'}`
    }
    if (message === TIMED_OUT) {
      return `${message}: no reply from Redis within ${commandTimeoutMs} ms; the command may have been executed`
    }
    if (isCutOff(message)) {
      return `the connection to Redis at ${address} was lost${reason === undefined ? '' : ` (${reason})`}; ` +
        'the command may have been executed'
    }
    return message
  }

  stop (): void {
    this.#isStopped = true
    this.trouble.stop()
    this.#refusal.stop()
    clearTimeout(this.#again)
    clearInterval(this.#slotsRefresh)
    for (const watch of this.#watches.values()) watch.stop()
    this.#watches.clear()
    this.client.disconnect()
  }

  #listen (client: Redis | Cluster): void {
    client.on('error', (error: Error) => this.#fail(COMMAND, 'the command connection failed; retrying', error))
    client.on('close', () => {
      if (this.trouble.problem === undefined) {
        this.#fail(COMMAND, 'the command connection was closed; retrying')
      }
    })
    client.on('ready', () => {
      this.#timesReady++
      this.trouble.end(COMMAND)
      this.#checked = this.#check()
    })
    if (client instanceof ClusterClient) this.#listenToNodes(client)
    else this.#watch(client)
  }

  #listenToNodes (cluster: Cluster): void {
    this.#slotsRefresh = setInterval(() => {
      if (cluster.status === 'ready') cluster.refreshSlotsCache()
    }, SLOTS_REFRESH_MS).unref()
    cluster.on('node error', (error: Error, name: string) =>
      this.#fail(name, `the command connection to ${name} failed; retrying`, error)
    )
    cluster.on('+node', (node: Redis) => {
      node.on('ready', () => this.trouble.end(nameOf(node)))
      this.#watch(node)
    })
    cluster.on('-node', (node: Redis) => {
      this.#watches.get(node)?.stop()
      this.#watches.delete(node)
    })
    // A problem of a node is over if the node has left the cluster or works again.
    cluster.on('refresh', () => {
      const troubled = new Set(cluster.nodes().filter(({ status }) => status !== 'ready').map(nameOf))
      for (const name of this.trouble.names) if (name.includes(':') && !troubled.has(name)) this.trouble.end(name)
    })
  }

  #watch (connection: Redis): void {
    const onSilent = (): void =>
      this.#fail(
        this.client === connection ? COMMAND : nameOf(connection),
        'the command connection is silent; replacing it'
      )
    this.#watches.set(connection, new SilenceWatch(connection, onSilent))
  }

  /** A command may fail before `close` is emitted; the caller must find the problem already reported. */
  #noticeLoss ({ message }: Error): void {
    const isOneServer = !(this.client instanceof ClusterClient)
    if (isOneServer && this.#timesReady > 0 && isNotSent(message) && this.trouble.problem === undefined) {
      this.#fail(COMMAND, 'the command connection was closed; retrying')
    }
  }

  #fail (name: string, message: string, error?: Error): void {
    const reason = error === undefined ? message.replace(/; (?:retrying|replacing it)$/, '') : reasonOf(error)
    // The message of ioredis for a connection that it closes must not hide the reason for closing it.
    if (!(isNotSent(reason) || isCutOff(reason)) || this.trouble.problem === undefined) {
      this.trouble.begin(name, reason, message)
    }
  }

  /** Checks the requirements for this server, and repeats the check until they are met. */
  async #check (): Promise<void> {
    clearTimeout(this.#again)
    try {
      this.#tooOld = await this.#findTooOld()
      if (this.#tooOld !== undefined) throw new TooOldError(this.#tooOld)
      await this.#init.probe(this.client)
      this.trouble.end(RIGHTS)
    } catch (error) {
      // A lost connection is reported separately, and the next one is checked again.
      if (!isRefusal(error as Error)) return
      this.trouble.begin(RIGHTS, (error as Error).message, 'Redis rejects required commands; retrying')
      this.#again = setTimeout(() => {
        if (this.client.status === 'ready') this.#checked = this.#check()
      }, RECHECK_MS).unref()
    }
  }

  /**
   * Why this server cannot be used: it is too old. A user without permission for INFO gets an error from the scripts,
   * which need it themselves.
   */
  async #findTooOld (): Promise<string | undefined> {
    const info = await (this.client as Redis).info('server').catch((error: Error) => {
      if (isRefusal(error)) return ''
      throw error
    })
    const version = /^redis_version:(\d+)\S*/m.exec(info)
    if (version === null || Number(version[1]) >= LOWEST_VERSION) return undefined
    return `Redis ${version[0].slice('redis_version:'.length)} is too old: version ${LOWEST_VERSION} or later is needed`
  }
}

class TooOldError extends Error {}

/** True if Redis answered with an error. */
function isRefusal (error: Error): boolean {
  return isReplyError(error) || error instanceof TooOldError
}

function nameOf ({ options: { host, port } }: Redis): string {
  return `${host}:${port}`
}

/** True if the promise has not settled after this many milliseconds. */
async function isLate (promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>(resolve => { timer = setTimeout(() => resolve(true), ms) })
  try {
    return await Promise.race([promise.then(() => false), late])
  } finally {
    clearTimeout(timer)
  }
}
