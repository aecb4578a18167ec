import { ClusterClient } from './ioredis.ts'
import type { Cluster, Redis } from 'ioredis'
import { createCommandConnection } from './redis-connections.ts'
import { isCutOff, isNotSent, isReplyError, reasonOf, TIMED_OUT } from './redis-errors.ts'
import { SilenceWatch } from './redis-silence.ts'
import type { RedisTarget } from './redis-target.ts'
import { RedisTrouble } from './redis-trouble.ts'
import type { TroubleLogger } from './redis-trouble.ts'

export interface RedisLinkInit<C> {
  target: RedisTarget
  commandTimeoutMs: number
  /** Adds the scripts to the connection. */
  define: (client: Redis | Cluster) => C
  /** Runs a script that reads: what Redis refuses the user is known at once, not with the first publish. */
  probe: (client: C) => Promise<unknown>
}

/**
 * A start waits for Redis this long, well below Fastify's 10 s for a plugin; then the application starts without it.
 */
const START_MS = 3_000
const LOWEST_VERSION = 7
/** How often a cluster is asked which node has which slots: a promoted replica is found although no command fails. */
const SLOTS_REFRESH_MS = 2_000
/** What Redis refuses is asked for again after this long. */
const RECHECK_MS = 1_000
const COMMAND = 'command'
const RIGHTS = 'rights'

/**
 * The connection for commands of a log or a token store, and what is wrong with it: not connected, silent, refused by
 * Redis, or a server that is too old.
 */
export class RedisLink<C extends Redis | Cluster> {
  readonly client: C
  readonly trouble: RedisTrouble
  readonly #init: RedisLinkInit<C>
  readonly #watches = new Map<Redis, SilenceWatch>()
  #timesReady = 0
  #checked: Promise<void> | undefined
  #again: NodeJS.Timeout | undefined
  #slotsRefresh: NodeJS.Timeout | undefined
  #tooOld: string | undefined

  /** Connects to nothing yet. */
  constructor (init: RedisLinkInit<C>) {
    this.#init = init
    this.trouble = new RedisTrouble(init.target.address)
    this.client = init.define(createCommandConnection(init.target, init.commandTimeoutMs))
  }

  /** True when commands are accepted. */
  get isReady (): boolean { return this.client.status === 'ready' && this.trouble.problem === undefined }

  /** Times the connection was lost and came back. */
  get reconnects (): number { return Math.max(0, this.#timesReady - 1) }

  /**
   * Connects, together with `others`. Settles when everything works, and after 3 s at the latest: what is away then is
   * tried again for as long as it takes.
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
      this.trouble.begin(COMMAND, `no answer within ${START_MS} ms`, 'there is no answer yet; it is tried again')
    }
  }

  /** Throws what `run` throws, and an error of its own for a server that cannot be used. */
  async run<T> (command: () => Promise<T>): Promise<T> {
    if (this.#tooOld !== undefined) throw new Error(this.#tooOld)
    return command()
  }

  /** True when Redis may have carried out a command that failed with this error of ioredis. */
  mayBeDone ({ message }: Error): boolean {
    return message === TIMED_OUT || isCutOff(message)
  }

  /** What an error of ioredis means, and whether the command may have been done all the same. */
  explain ({ message }: Error): string {
    const { target: { address }, commandTimeoutMs } = this.#init
    const reason = this.trouble.problem
    if (isNotSent(message)) {
      return `there is no connection to Redis at ${address}: ${reason ?? 'is it running, and is its URL right?'}`
    }
    if (message === TIMED_OUT) {
      return `${message}: no answer from Redis within ${commandTimeoutMs} ms; it may have been done all the same`
    }
    if (isCutOff(message)) {
      return `the connection to Redis at ${address} was lost${reason === undefined ? '' : ` (${reason})`}; ` +
        'it may have been done all the same'
    }
    return message
  }

  stop (): void {
    this.trouble.stop()
    clearTimeout(this.#again)
    clearInterval(this.#slotsRefresh)
    for (const watch of this.#watches.values()) watch.stop()
    this.#watches.clear()
    this.client.disconnect()
  }

  #listen (client: Redis | Cluster): void {
    client.on('error', (error: Error) => this.#fail(COMMAND, 'the command connection failed; it is tried again', error))
    client.on('close', () => {
      if (this.trouble.problem === undefined) {
        this.#fail(COMMAND, 'the command connection was closed; it is tried again')
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
      this.#fail(name, `the command connection to ${name} failed; it is tried again`, error)
    )
    cluster.on('+node', (node: Redis) => {
      node.on('ready', () => this.trouble.end(nameOf(node)))
      this.#watch(node)
    })
    cluster.on('-node', (node: Redis) => {
      this.#watches.get(node)?.stop()
      this.#watches.delete(node)
    })
    // What is said of a node that is not in the cluster any more, or works, is over.
    cluster.on('refresh', () => {
      const troubled = new Set(cluster.nodes().filter(({ status }) => status !== 'ready').map(nameOf))
      for (const name of this.trouble.names) if (name.includes(':') && !troubled.has(name)) this.trouble.end(name)
    })
  }

  #watch (connection: Redis): void {
    const onSilent = (): void =>
      this.#fail(
        this.client === connection ? COMMAND : nameOf(connection),
        'the command connection is silent; it is replaced'
      )
    this.#watches.set(connection, new SilenceWatch(connection, onSilent))
  }

  #fail (name: string, message: string, error?: Error): void {
    const reason = error === undefined ? message.replace(/; it is .*$/, '') : reasonOf(error)
    // What ioredis says of a connection that it gives up would hide the reason for it.
    if (!(isNotSent(reason) || isCutOff(reason)) || this.trouble.problem === undefined) {
      this.trouble.begin(name, reason, message)
    }
  }

  /** Asks what must hold for this server, again until it does. */
  async #check (): Promise<void> {
    clearTimeout(this.#again)
    try {
      this.#tooOld = await this.#findTooOld()
      if (this.#tooOld !== undefined) throw new TooOldError(this.#tooOld)
      await this.#init.probe(this.client)
      this.trouble.end(RIGHTS)
    } catch (error) {
      // A connection that was lost has trouble of its own; the next one is checked again.
      if (!isRefusal(error as Error)) return
      this.trouble.begin(RIGHTS, (error as Error).message, 'Redis refuses what is needed; it is tried again')
      this.#again = setTimeout(() => {
        if (this.client.status === 'ready') this.#checked = this.#check()
      }, RECHECK_MS).unref()
    }
  }

  /** Why this server cannot be used. A user who may not ask is told by the scripts, which need INFO themselves. */
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

/** Redis answered, and the answer is no. */
function isRefusal (error: Error): boolean {
  return isReplyError(error) || error instanceof TooOldError
}

function nameOf ({ options: { host, port } }: Redis): string {
  return `${host}:${port}`
}

/** True when the promise has not settled after this long. */
async function isLate (promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>(resolve => { timer = setTimeout(() => resolve(true), ms) })
  try {
    return await Promise.race([promise.then(() => false), late])
  } finally {
    clearTimeout(timer)
  }
}
