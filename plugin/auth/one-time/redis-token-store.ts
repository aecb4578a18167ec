import { errors } from '../errors.ts'
import { show } from '../../common/show.ts'
import { checkOptions, withoutUndefined } from '../../common/option-check.ts'
import type { OptionCheck, OptionError } from '../../common/option-check.ts'
import { redisChecks } from '../../common/redis/redis-checks.ts'
import type { Cluster, Redis } from 'ioredis'
import { RedisLink } from '../../common/redis/redis-link.ts'
import { parseTarget } from '../../common/redis/redis-target.ts'
import type { RedisConnection, RedisTarget } from '../../common/redis/redis-target.ts'
import { RedisTokenListener } from './redis-token-listener.ts'
import { defineTokenScripts } from './scripts/token-scripts.ts'
import type { TokenCommands } from './scripts/token-scripts.ts'
import { isRevoked, MAX_SECRETS } from './token-store.ts'
import type {
  StoredToken,
  PresentedToken,
  RedeemedToken,
  SessionLimits,
  StoreChange,
  TokenRecord,
  TokenStore,
  TokenStoreLogger
} from './token-store.ts'

export interface RedisTokenStoreOptions {
  /**
   * How to reach Redis: a URL, ioredis options (including Sentinel), `{ cluster: nodes }`, or a client, whose settings
   * are used for connections of the store's own: the client itself might wait for Redis indefinitely.
   */
  connection: RedisConnection | Redis | Cluster
  /** Prefix of every key and of the channel name. Default `sse:`. */
  prefix?: string
  /** A command that is not answered within this many ms has failed. Default 5,000. */
  commandTimeoutMs?: number
}

const DEFAULTS = { prefix: 'sse:', commandTimeoutMs: 5_000 }
const CHECKS: Readonly<Record<keyof RedisTokenStoreOptions, OptionCheck>> = {
  ...redisChecks,
  connection: { ...redisChecks.connection, range: 'a URL, ioredis options, { cluster: nodes } or a client' }
}
/** Maximum number of sessions extended at once. */
const CHUNK = 500
/** Maximum number of revocations read at once, and of those forgotten with each new one. */
const PAGE = 1_000
const MAX_FORGOTTEN = 100
type Client = (Redis | Cluster) & TokenCommands

/**
 * Tokens, sessions and revocations in Redis, for any number of processes. A token and its session share a slot, so that
 * one script can turn the token into the session. Uses one connection for commands and one for messages.
 */
export class RedisTokenStore implements TokenStore {
  readonly #link: RedisLink<Client>
  readonly #client: Client
  readonly #target: RedisTarget
  readonly #commandTimeoutMs: number
  #listener: RedisTokenListener | undefined
  #wasReady = false

  /** Does not connect yet. Throws `FST_SSE_BAD_OPTION`. */
  constructor (given: RedisTokenStoreOptions) {
    checkOptions(given, CHECKS, badOption)
    const { connection, prefix, commandTimeoutMs } = { ...DEFAULTS, ...withoutUndefined(given) }
    this.#target = parseTarget(connection, prefix, badOption)
    this.#link = new RedisLink<Client>({
      target: this.#target,
      commandTimeoutMs,
      define: defineTokenScripts,
      probe: client => client.tokenRevoked(...this.#revokedKeys, 'one', '', 0, 0)
    })
    this.#client = this.#link.client
    this.#commandTimeoutMs = commandTimeoutMs
  }

  async start (onChange: (change: StoreChange) => void, logger: TokenStoreLogger): Promise<void> {
    const listener = new RedisTokenListener({
      target: this.#target,
      client: this.#client,
      commandTimeoutMs: this.#commandTimeoutMs,
      channel: this.#channel,
      trouble: this.#link.trouble,
      onMessage: text => this.#hear(text, onChange, logger),
      onRestored: () => onChange({ kind: 'resync' })
    })
    this.#listener = listener
    this.#client.on('ready', () => this.#tellReady(onChange))
    await this.#link.start(logger, () => listener.start())
  }

  async stop (): Promise<void> {
    this.#listener?.stop()
    this.#link.stop()
  }

  async issue (tokenHash: string, record: TokenRecord, ttlMs: number): Promise<void> {
    await this.#ask(() =>
      this.#client.tokenIssue(
        this.#tokenKey(tokenHash),
        JSON.stringify(record),
        ttlMs,
        record.grant.expiresAtMs ?? Number.MAX_SAFE_INTEGER
      )
    )
  }

  async find (presented: PresentedToken, limits: SessionLimits): Promise<StoredToken | undefined> {
    return this.#take('find', presented, '', limits)
  }

  async redeem (
    presented: PresentedToken,
    newSecretHash: string,
    limits: SessionLimits
  ): Promise<RedeemedToken | undefined> {
    return this.#take('redeem', presented, newSecretHash, limits)
  }

  async touch (sessions: readonly string[], { slidingMs }: SessionLimits): Promise<Set<string>> {
    const valid = new Set<string>()
    // In chunks: if very many commands are sent at once, the last would exceed its time limit.
    for (let at = 0; at < sessions.length; at += CHUNK) {
      const chunk = sessions.slice(at, at + CHUNK)
      const replies = await this.#ask(() =>
        Promise.all(chunk.map(session => this.#client.tokenTouch(this.#sessionKey(session), slidingMs)))
      )
      for (const [index, session] of chunk.entries()) if (replies[index] === 1) valid.add(session)
    }
    return valid
  }

  async revokeSession (session: string): Promise<void> {
    await this.#tell({ kind: 'session revoked', session }, 'end')
  }

  async release (session: string, turn: number): Promise<void> {
    await this.#ask(() => this.#client.tokenRelease(this.#sessionKey(session), turn))
  }

  async revokeSubject (subject: string, ttlMs: number): Promise<void> {
    await this.#ask(() => this.#client.tokenRevoke(...this.#revokedKeys, subject, ttlMs, this.#channel, MAX_FORGOTTEN))
  }

  /** Page by page: Redis does nothing else while a script runs. */
  async revokedSubjects (sinceMs = 0): Promise<Map<string, number>> {
    const revoked = new Map<string, number>()
    let [next, skip] = [String(sinceMs), 0]
    while (next !== '') {
      const page = await this.#ask(() => this.#client.tokenRevoked(...this.#revokedKeys, 'page', next, skip, PAGE))
      for (let at = 3; at < page.length; at += 2) revoked.set(String(page[at]), Number(page[at + 1]));
      [, next, skip] = page
    }
    return revoked
  }

  async forgottenMs (): Promise<number> {
    const [forgottenMs] = await this.#ask(() => this.#client.tokenRevoked(...this.#revokedKeys, 'page', 0, 0, 1))
    return Number(forgottenMs)
  }

  async supersede (session: string, turn: number): Promise<void> {
    await this.#tell({ kind: 'superseded', session, turn }, 'keep')
  }

  /** The hash in braces is the hash tag: both keys are on the same node of a cluster. */
  #tokenKey (hash: string): string { return `${this.#target.prefix}token:{${hash}}` }
  #sessionKey (hash: string): string { return `${this.#target.prefix}session:{${hash}}` }
  get #revokedKeys (): [at: string, until: string, forgotten: string] {
    const { prefix } = this.#target
    return [`${prefix}{revoked}:at`, `${prefix}{revoked}:until`, `${prefix}{revoked}:forgotten`]
  }

  /** Messages are not tied to a database: revocations in one must not end streams of another. */
  get #channel (): string { return `${this.#target.prefix}auth:db${this.#target.database}` }

  async #take (
    mode: 'find' | 'redeem',
    { tokenHash, secretHash = '', fingerprint }: PresentedToken,
    newSecretHash: string,
    { slidingMs, absoluteMs, graceMs }: SessionLimits
  ): Promise<RedeemedToken | undefined> {
    const reply = await this.#ask(() =>
      this.#client.tokenTake(
        this.#tokenKey(tokenHash),
        this.#sessionKey(tokenHash),
        mode,
        secretHash,
        fingerprint,
        newSecretHash,
        slidingMs,
        absoluteMs,
        graceMs,
        MAX_SECRETS
      )
    )
    if (!reply) return undefined
    const [kind, text, endsInMs, turn, openTurn] = reply
    const record = JSON.parse(text) as TokenRecord
    const { subject } = record.grant
    // Checked after the redemption, so that a concurrent revocation is either seen here or announced to the open
    // stream.
    const [, , , , atMs] = await this.#ask(() => this.#client.tokenRevoked(...this.#revokedKeys, 'one', subject, 0, 0))
    if (isRevoked(record.grant, atMs === undefined ? undefined : Number(atMs))) return undefined
    return { kind, record, endsInMs: Number(endsInMs), turn: Number(turn), hasOlder: Number(openTurn) > 0 }
  }

  async #tell (change: StoreChange & { session: string }, what: 'end' | 'keep'): Promise<void> {
    const { session } = change
    await this.#ask(() =>
      this.#client.tokenTell(
        this.#tokenKey(session),
        this.#sessionKey(session),
        this.#channel,
        JSON.stringify(change),
        what
      )
    )
  }

  /** If the connection for messages was restored first, missed changes can be read only now. */
  #tellReady (onChange: (change: StoreChange) => void): void {
    if (this.#wasReady) onChange({ kind: 'resync' })
    this.#wasReady = true
  }

  /** A message that cannot be parsed is from another program or a future version: assume that something changed. */
  #hear (text: string, onChange: (change: StoreChange) => void, logger: TokenStoreLogger): void {
    const change = parseChange(text)
    if (change.kind === 'resync') {
      logger.warn({ text: show(text) }, 'redis: the token store received an invalid message')
    }
    onChange(change)
  }

  /** Any reply of Redis except a result means that the store is currently unavailable. */
  async #ask<T> (command: () => Promise<T>): Promise<T> {
    try {
      return await this.#link.run(command)
    } catch (cause) {
      throw Object.assign(new errors.FST_SSE_STORE_UNAVAILABLE(this.#link.explain(cause as Error)), { cause })
    }
  }
}

const badOption: OptionError = (...seen) => new errors.FST_SSE_BAD_OPTION('RedisTokenStore', ...seen)

function parseChange (text: string): StoreChange {
  try {
    const { kind, session, turn, subject, atMs } = JSON.parse(text) as Record<string, unknown>
    if (kind === 'session revoked' && typeof session === 'string') return { kind, session }
    if (kind === 'subject revoked' && typeof subject === 'string' && typeof atMs === 'number') {
      return { kind, subject, atMs }
    }
    if (kind === 'superseded' && typeof session === 'string' && typeof turn === 'number') return { kind, session, turn }
  } catch {
    // Falls through for text that is not JSON, and for null.
  }
  return { kind: 'resync' }
}
