import { Cluster } from 'ioredis'
import type { Redis } from 'ioredis'
import { errors } from '../../reply/errors.ts'
import { show } from '../../common/show.ts'
import { createCommandConnection, createMessageConnection } from '../../common/redis-connections.ts'
import type { RedisConnection, RedisOptions } from '../../common/redis-connections.ts'
import { defineTokenScripts } from './token-scripts.ts'
import type { TokenCommands } from './token-scripts.ts'
import { isRevoked, MAX_SECRETS } from './token-store.ts'
import type { StoredToken, PresentedToken, RedeemedToken, SessionLimits, StoreChange, TokenRecord, TokenStore, TokenStoreLogger } from './token-store.ts'

export interface RedisTokenStoreOptions {
  /**
   * Where Redis is: a URL, ioredis options (Sentinel is among them), `{ cluster: nodes }`, or a client, whose settings are
   * taken for connections of the store's own: the client itself might wait for Redis for ever.
   */
  connection: RedisConnection | Redis | Cluster
  /** Begins every key, and names the channel. Default `sse:`. */
  prefix?: string
  /** A command not answered within this many ms has failed. Default 5,000. */
  commandTimeoutMs?: number
}

const DEFAULTS = { prefix: 'sse:', commandTimeoutMs: 5_000 }
const MAX_MS = 600_000
/** Sessions touched at once. */
const CHUNK = 500
/** How long until a channel that could not be listened to is tried again. */
const LISTEN_AGAIN_MS = 500

/**
 * Tokens, sessions and revocations in Redis, for any number of processes. A token and its session share a slot, and one
 * script turns the one into the other. One connection for commands, one for messages.
 */
export class RedisTokenStore implements TokenStore {
  readonly #client: (Redis | Cluster) & TokenCommands
  /**
   * A cluster's client keeps a connection for messages by itself. In its first moments messages may miss it, when this
   * process has no stream yet that could be ended.
   */
  readonly #listener: Redis | Cluster
  readonly #prefix: string
  #timer: NodeJS.Timeout | undefined
  #listening: Promise<void> | undefined
  #wasListening = false
  #wasReady = false

  /** Connects to nothing yet. Throws `FST_SSE_BAD_OPTION`. */
  constructor (given: RedisTokenStoreOptions) {
    const { connection, prefix, commandTimeoutMs } = checkOptions(given)
    this.#prefix = prefix
    this.#client = defineTokenScripts(createCommandConnection(connection, commandTimeoutMs))
    this.#listener = this.#client instanceof Cluster ? this.#client : createMessageConnection(connection as string | RedisOptions | Redis, commandTimeoutMs)
  }

  async start (onChange: (change: StoreChange) => void, logger: TokenStoreLogger): Promise<void> {
    for (const connection of this.#connections()) {
      connection.on('error', (err: Error) => logger.warn({ err }, 'redis: a connection of the token store failed; it is tried again'))
    }
    this.#listener.on('message', (channel: string, text: string) => this.#hear(text, onChange, logger))
    this.#listener.on('ready', () => { this.#listening = this.#listen(onChange, logger) })
    this.#client.on('ready', () => this.#tellReady(onChange))
    await Promise.all([...this.#connections()].map(connection => connection.connect().catch(() => {})))
    await this.#listening
  }

  async stop (): Promise<void> {
    for (const connection of this.#connections()) connection.disconnect()
    // What was under way fails now, and would try again.
    await this.#listening
    clearTimeout(this.#timer)
  }

  async issue (tokenHash: string, record: TokenRecord, ttlMs: number): Promise<void> {
    await this.#ask(() => this.#client.tokenIssue(this.#tokenKey(tokenHash), JSON.stringify(record), ttlMs, record.grant.expiresAtMs ?? Number.MAX_SAFE_INTEGER))
  }

  async find (presented: PresentedToken, limits: SessionLimits): Promise<StoredToken | undefined> {
    return this.#take('find', presented, '', limits)
  }

  async redeem (presented: PresentedToken, newSecretHash: string, limits: SessionLimits): Promise<RedeemedToken | undefined> {
    return this.#take('redeem', presented, newSecretHash, limits)
  }

  async touch (sessions: readonly string[], { slidingMs }: SessionLimits): Promise<Set<string>> {
    const valid = new Set<string>()
    // In pieces: the last of very many commands sent at once would wait longer than a command may.
    for (let at = 0; at < sessions.length; at += CHUNK) {
      const chunk = sessions.slice(at, at + CHUNK)
      const replies = await this.#ask(() => Promise.all(chunk.map(session => this.#client.tokenTouch(this.#sessionKey(session), slidingMs))))
      for (const [index, session] of chunk.entries()) if (replies[index] === 1) valid.add(session)
    }
    return valid
  }

  async revokeSession (session: string): Promise<void> {
    await this.#tell({ kind: 'session revoked', session }, 'end')
  }

  async revokeSubject (subject: string, ttlMs: number): Promise<void> {
    await this.#ask(() => this.#client.tokenRevoke(...this.#revokedKeys, subject, ttlMs, this.#channel))
  }

  async revokedSubjects (): Promise<Map<string, number>> {
    return toRevocations(await this.#ask(() => this.#client.tokenRevoked(...this.#revokedKeys)))
  }

  async supersede (session: string, turn: number): Promise<void> {
    await this.#tell({ kind: 'superseded', session, turn }, 'keep')
  }

  /** The hash in braces is the hash tag: both keys live on one node of a cluster. */
  #tokenKey (hash: string): string { return `${this.#prefix}token:{${hash}}` }
  #sessionKey (hash: string): string { return `${this.#prefix}session:{${hash}}` }
  get #revokedKeys (): [at: string, until: string] { return [`${this.#prefix}{revoked}:at`, `${this.#prefix}{revoked}:until`] }
  get #channel (): string { return `${this.#prefix}auth` }

  #connections (): Set<Redis | Cluster> { return new Set([this.#client, this.#listener]) }

  async #take (mode: 'find' | 'redeem', { tokenHash, secretHash = '', fingerprint }: PresentedToken, newSecretHash: string, { slidingMs, absoluteMs, graceMs }: SessionLimits): Promise<RedeemedToken | undefined> {
    const reply = await this.#ask(() => this.#client.tokenTake(this.#tokenKey(tokenHash), this.#sessionKey(tokenHash), mode, secretHash, fingerprint, newSecretHash, slidingMs, absoluteMs, graceMs, MAX_SECRETS))
    if (!reply) return undefined
    const [kind, text, endsInMs, turn] = reply
    const record = JSON.parse(text) as TokenRecord
    const { subject } = record.grant
    // Behind the redemption, so that a revocation that comes meanwhile is either seen here or told to the open stream.
    const revoked = toRevocations(await this.#ask(() => this.#client.tokenRevoked(...this.#revokedKeys, subject)))
    return isRevoked(record.grant, revoked.get(subject)) ? undefined : { kind, record, endsInMs: Number(endsInMs), turn: Number(turn) }
  }

  async #tell (change: StoreChange & { session: string }, what: 'end' | 'keep'): Promise<void> {
    const { session } = change
    await this.#ask(() => this.#client.tokenTell(this.#tokenKey(session), this.#sessionKey(session), this.#channel, JSON.stringify(change), what))
  }

  async #listen (onChange: (change: StoreChange) => void, logger: TokenStoreLogger): Promise<void> {
    clearTimeout(this.#timer)
    try {
      await this.#listener.subscribe(this.#channel)
    } catch (err) {
      logger.warn({ err }, 'redis: the token store cannot listen for revocations; it tries again')
      this.#timer = setTimeout(() => { this.#listening = this.#listen(onChange, logger) }, LISTEN_AGAIN_MS).unref()
      return
    }
    if (this.#wasListening) onChange({ kind: 'doubt' })
    this.#wasListening = true
  }

  /** Where the connection for messages was back first, what was missed can be asked for only now. */
  #tellReady (onChange: (change: StoreChange) => void): void {
    if (this.#wasReady) onChange({ kind: 'doubt' })
    this.#wasReady = true
  }

  /** A message that cannot be read is of another program, or of a version to come: it changed something. */
  #hear (text: string, onChange: (change: StoreChange) => void, logger: TokenStoreLogger): void {
    const change = parseChange(text)
    if (change.kind === 'doubt') logger.warn({ text: show(text) }, 'redis: the token store heard what it cannot read')
    onChange(change)
  }

  /** Whatever Redis answers but a result means that the store is not available now. */
  async #ask<T> (command: () => Promise<T>): Promise<T> {
    try {
      return await command()
    } catch (cause) {
      throw Object.assign(new errors.FST_SSE_STORE_UNAVAILABLE((cause as Error).message), { cause })
    }
  }
}

function checkOptions (given: RedisTokenStoreOptions): Required<RedisTokenStoreOptions> {
  const options = { ...DEFAULTS, ...given }
  const { connection, prefix, commandTimeoutMs } = options
  const refuse = (name: string, range: string, seen: string): never => { throw new errors.FST_SSE_BAD_OPTION('RedisTokenStore', name, range, seen) }
  const unknown = Object.keys(given).find(name => name !== 'connection' && !Object.hasOwn(DEFAULTS, name))
  if (unknown !== undefined) refuse(unknown, `one of connection, ${Object.keys(DEFAULTS).join(', ')}`, 'an unknown option')
  if (typeof connection !== 'string' && (typeof connection !== 'object' || connection === null)) refuse('connection', 'a URL, ioredis options, { cluster: nodes } or a client', show(connection))
  if (typeof prefix !== 'string' || /[{}\s]/.test(prefix)) refuse('prefix', 'a string without braces and white space', show(prefix))
  if (!Number.isInteger(commandTimeoutMs) || commandTimeoutMs < 1 || commandTimeoutMs > MAX_MS) refuse('commandTimeoutMs', `an integer from 1 to ${MAX_MS}`, show(commandTimeoutMs))
  return options
}

function toRevocations (reply: readonly string[]): Map<string, number> {
  const revoked = new Map<string, number>()
  for (let at = 0; at < reply.length; at += 2) revoked.set(reply[at]!, Number(reply[at + 1]))
  return revoked
}

function parseChange (text: string): StoreChange {
  try {
    const { kind, session, turn, subject, atMs } = JSON.parse(text) as Record<string, unknown>
    if (kind === 'session revoked' && typeof session === 'string') return { kind, session }
    if (kind === 'subject revoked' && typeof subject === 'string' && typeof atMs === 'number') return { kind, subject, atMs }
    if (kind === 'superseded' && typeof session === 'string' && typeof turn === 'number') return { kind, session, turn }
  } catch {
    // Not JSON, or null.
  }
  return { kind: 'doubt' }
}
