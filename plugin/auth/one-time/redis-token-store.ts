import { errors } from '../../reply/errors.ts'
import { show } from '../../common/show.ts'
import { withoutUndefined } from '../../common/option-check.ts'
import type { Cluster, Redis } from 'ioredis'
import { RedisLink } from '../../common/redis/redis-link.ts'
import { parseTarget } from '../../common/redis/redis-target.ts'
import type { RedisConnection, RedisTarget, RefuseOption } from '../../common/redis/redis-target.ts'
import { RedisTokenListener } from './redis-token-listener.ts'
import { defineTokenScripts } from './token-scripts.ts'
import type { TokenCommands } from './token-scripts.ts'
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
   * Where Redis is: a URL, ioredis options (Sentinel is among them), `{ cluster: nodes }`, or a client, whose settings
   * are taken for connections of the store's own: the client itself might wait for Redis for ever.
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
/** Revocations read at once, and forgotten with each that is made. */
const PAGE = 1_000
const MAX_FORGOTTEN = 100
type Client = (Redis | Cluster) & TokenCommands

/**
 * Tokens, sessions and revocations in Redis, for any number of processes. A token and its session share a slot, and one
 * script turns the one into the other. One connection for commands, one for messages.
 */
export class RedisTokenStore implements TokenStore {
  readonly #link: RedisLink<Client>
  readonly #client: Client
  readonly #target: RedisTarget
  readonly #commandTimeoutMs: number
  #listener: RedisTokenListener | undefined
  #wasReady = false

  /** Connects to nothing yet. Throws `FST_SSE_BAD_OPTION`. */
  constructor (given: RedisTokenStoreOptions) {
    const { connection, prefix, commandTimeoutMs } = checkOptions(given)
    this.#target = parseTarget(connection, prefix, refuseOption)
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
      onRestored: () => onChange({ kind: 'doubt' })
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
    // In pieces: the last of very many commands sent at once would wait longer than a command may.
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

  /** The hash in braces is the hash tag: both keys live on one node of a cluster. */
  #tokenKey (hash: string): string { return `${this.#target.prefix}token:{${hash}}` }
  #sessionKey (hash: string): string { return `${this.#target.prefix}session:{${hash}}` }
  get #revokedKeys (): [at: string, until: string, forgotten: string] {
    const { prefix } = this.#target
    return [`${prefix}{revoked}:at`, `${prefix}{revoked}:until`, `${prefix}{revoked}:forgotten`]
  }

  /** Messages know no databases: what is revoked in one must not end streams of another. */
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
    // Behind the redemption, so that a revocation that comes meanwhile is either seen here or told to the open stream.
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

  /** Everything that Redis answers, except a result, means that the store is not available now. */
  async #ask<T> (command: () => Promise<T>): Promise<T> {
    try {
      return await this.#link.run(command)
    } catch (cause) {
      throw Object.assign(new errors.FST_SSE_STORE_UNAVAILABLE(this.#link.explain(cause as Error)), { cause })
    }
  }
}

const refuseOption: RefuseOption = (name, allowed, seen) => {
  throw new errors.FST_SSE_BAD_OPTION('RedisTokenStore', name, allowed, seen)
}

function checkOptions (options: RedisTokenStoreOptions): Required<RedisTokenStoreOptions> {
  const given = withoutUndefined(options)
  const { connection, prefix, commandTimeoutMs } = { ...DEFAULTS, ...given }
  const unknown = Object.keys(given).find(name => name !== 'connection' && !Object.hasOwn(DEFAULTS, name))
  if (unknown !== undefined) {
    refuseOption(unknown, `one of connection, ${Object.keys(DEFAULTS).join(', ')}`, 'an unknown option')
  }
  if (typeof connection !== 'string' && (typeof connection !== 'object' || connection === null)) {
    refuseOption('connection', 'a URL, ioredis options, { cluster: nodes } or a client', show(connection))
  }
  if (typeof prefix !== 'string' || /[{}\s]/.test(prefix)) {
    refuseOption('prefix', 'a string without braces and white space', show(prefix))
  }
  if (!Number.isInteger(commandTimeoutMs) || commandTimeoutMs < 1 || commandTimeoutMs > MAX_MS) {
    refuseOption('commandTimeoutMs', `an integer from 1 to ${MAX_MS}`, show(commandTimeoutMs))
  }
  return { connection, prefix, commandTimeoutMs }
}

function parseChange (text: string): StoreChange {
  try {
    const { kind, session, turn, subject, atMs } = JSON.parse(text) as Record<string, unknown>
    if (kind === 'session revoked' && typeof session === 'string') return { kind, session }
    if (kind === 'subject revoked' && typeof subject === 'string' && typeof atMs === 'number') {
      return { kind, subject, atMs }
    }
    if (kind === 'superseded' && typeof session === 'string' && typeof turn === 'number') return { kind, session, turn }
  } catch {
    // Not JSON, or null.
  }
  return { kind: 'doubt' }
}
