import { steadyClock } from '../../common/steady-clock.ts'
import { isRevoked, MAX_SECRETS } from './token-store.ts'
import type {
  StoredToken,
  PresentedToken,
  RedeemedToken,
  SessionLimits,
  StoreChange,
  TokenRecord,
  TokenStore
} from './token-store.ts'

export interface Token {
  record: TokenRecord
  untilMs: number
}
export interface Session extends Token {
  endsAtMs: number
  spentAtMs: number
  fingerprint: string
  secrets: string[]
  turn: number
  openTurn: number
}
export interface Revocation {
  atMs: number
  untilMs: number
}

/** The tables of a store. Each map is ordered by expiry, as closely as that is known. */
export interface TokenTables {
  tokens: Map<string, Token>
  sessions: Map<string, Session>
  revoked: Map<string, Revocation>
  /** `forgotten`: the time of the latest revocation that is no longer remembered. */
  marks: Map<string, number>
}

/**
 * Tokens and sessions in the memory of one process, for development and for apps with a single process. Lost when the
 * process ends.
 */
export class MemoryTokenStore implements TokenStore {
  /** For durations. */
  readonly #now: () => number
  /** For times set elsewhere: when a grant expires, when it was issued. */
  readonly #wall: () => number
  readonly #tables: TokenTables
  #onChange: (change: StoreChange) => void = () => {}
  #latestRevocationMs = 0

  /** `now` returns Unix ms, for tests; `tables` are provided by a store that also keeps them elsewhere. */
  constructor ({ now, tables = newTables() }: { now?: (() => number) | undefined, tables?: TokenTables } = {}) {
    this.#now = now ?? steadyClock()
    this.#wall = now ?? (() => Date.now())
    this.#tables = tables
    for (const { atMs } of tables.revoked.values()) this.#latestRevocationMs = Math.max(this.#latestRevocationMs, atMs)
  }

  get #tokens (): Map<string, Token> { return this.#tables.tokens }
  get #sessions (): Map<string, Session> { return this.#tables.sessions }
  get #revoked (): Map<string, Revocation> { return this.#tables.revoked }

  async start (onChange: (change: StoreChange) => void): Promise<void> { this.#onChange = onChange }

  async stop (): Promise<void> { this.#onChange = () => {} }

  async issue (tokenHash: string, record: TokenRecord, ttlMs: number): Promise<void> {
    this.#sweep(this.#tokens)
    this.#tokens.set(tokenHash, { record, untilMs: this.#now() + ttlMs })
  }

  async find (presented: PresentedToken, limits: SessionLimits): Promise<StoredToken | undefined> {
    return this.#find(presented, limits)
  }

  async redeem (
    presented: PresentedToken,
    newSecretHash: string,
    limits: SessionLimits
  ): Promise<RedeemedToken | undefined> {
    const found = this.#find(presented, limits)
    if (found?.kind === 'fresh') this.#begin(presented, found, newSecretHash)
    if (!found || found.kind === 'busy') return undefined
    const { turn, openTurn, secrets } = this.#sessions.get(presented.tokenHash)!
    const added = found.kind === 'repeated' ? { secrets: [...secrets, newSecretHash] } : {}
    this.#slide(presented.tokenHash, limits, { ...added, turn: turn + 1, openTurn: turn + 1 })
    return { ...found, turn: turn + 1, hasOlder: openTurn > 0 }
  }

  async release (session: string, turn: number): Promise<void> {
    const known = this.#sessions.get(session)
    if (known?.openTurn === turn) this.#sessions.set(session, { ...known, openTurn: 0 })
  }

  async touch (sessions: readonly string[], limits: SessionLimits): Promise<Set<string>> {
    return new Set(sessions.filter(session => this.#slide(session, limits)))
  }

  async revokeSession (session: string): Promise<void> {
    this.#tokens.delete(session)
    this.#sessions.delete(session)
    this.#onChange({ kind: 'session revoked', session })
  }

  async revokeSubject (subject: string, ttlMs: number): Promise<void> {
    // By the wall clock, because it is compared with the times at which tokens were issued; never earlier than the last
    // one.
    const atMs = this.#latestRevocationMs = Math.max(this.#wall(), this.#latestRevocationMs)
    this.#forget()
    this.#revoked.delete(subject)
    this.#revoked.set(subject, { atMs, untilMs: this.#now() + ttlMs })
    this.#onChange({ kind: 'subject revoked', subject, atMs })
  }

  async revokedSubjects (sinceMs = 0): Promise<Map<string, number>> {
    if (sinceMs > this.#latestRevocationMs && this.#latestRevocationMs > 0) return new Map()
    const now = this.#now()
    return new Map(
      [...this.#revoked]
        .filter(([, { atMs, untilMs }]) => untilMs > now && atMs >= sinceMs)
        .map(([subject, { atMs }]) => [subject, atMs])
    )
  }

  async forgottenMs (): Promise<number> {
    this.#forget()
    return this.#tables.marks.get('forgotten') ?? 0
  }

  async supersede (session: string, turn: number): Promise<void> {
    this.#onChange({ kind: 'superseded', session, turn })
  }

  #find (presented: PresentedToken, { absoluteMs, graceMs }: SessionLimits): StoredToken | undefined {
    const now = this.#now()
    const token = this.#live(this.#tokens, presented.tokenHash)
    if (token) {
      return this.#unlessRevoked({
        kind: 'fresh',
        record: token.record,
        endsInMs: Math.min(absoluteMs, expiryOf(token.record) - this.#wall())
      })
    }
    const session = this.#live(this.#sessions, presented.tokenHash)
    if (!session) return undefined
    const { record, secrets, spentAtMs, fingerprint } = session
    const endsInMs = session.endsAtMs - now
    if (presented.secretHash !== undefined && secrets.includes(presented.secretHash)) {
      return this.#unlessRevoked({ kind: 'resumed', record, endsInMs })
    }
    const isRepeat = fingerprint === presented.fingerprint && now - spentAtMs < graceMs && secrets.length < MAX_SECRETS
    return isRepeat
      ? this.#unlessRevoked({ kind: session.openTurn > 0 ? 'busy' : 'repeated', record, endsInMs })
      : undefined
  }

  #unlessRevoked (found: StoredToken): StoredToken | undefined {
    const { grant } = found.record
    return isRevoked(grant, this.#live(this.#revoked, grant.subject)?.atMs) ? undefined : found
  }

  #begin ({ tokenHash, fingerprint }: PresentedToken, { record, endsInMs }: StoredToken, secretHash: string): void {
    const now = this.#now()
    this.#tokens.delete(tokenHash)
    this.#sweep(this.#sessions)
    this.#sessions.set(tokenHash, {
      record,
      untilMs: now + endsInMs,
      endsAtMs: now + endsInMs,
      spentAtMs: now,
      fingerprint,
      secrets: [secretHash],
      turn: 0,
      openTurn: 0
    })
  }

  /** Moves a session that was just used to the end of the map, so that the sweep reaches the others first. */
  #slide (name: string, { slidingMs }: SessionLimits, changed: Partial<Session> = {}): boolean {
    const session = this.#live(this.#sessions, name)
    if (!session) return false
    this.#sessions.delete(name)
    this.#sessions.set(name, { ...session, ...changed, untilMs: Math.min(this.#now() + slidingMs, session.endsAtMs) })
    return true
  }

  #live<T extends { untilMs: number, record?: TokenRecord }> (map: ReadonlyMap<string, T>, key: string): T | undefined {
    const value = map.get(key)
    if (!value || value.untilMs <= this.#now()) return undefined
    return value.record && expiryOf(value.record) <= this.#wall() ? undefined : value
  }

  /** Like `#sweep`, but records the latest revocation that was forgotten. */
  #forget (): void {
    const now = this.#now()
    for (const [subject, { atMs, untilMs }] of this.#revoked) {
      if (untilMs > now) return
      this.#revoked.delete(subject)
      this.#tables.marks.set('forgotten', Math.max(atMs, this.#tables.marks.get('forgotten') ?? 0))
    }
  }

  /**
   * Deletes expired entries from the oldest up to the first that has not expired, so that nothing accumulates and no
   * call takes long.
   */
  #sweep (map: Map<string, { untilMs: number }>): void {
    const now = this.#now()
    for (const [key, { untilMs }] of map) {
      if (untilMs > now) break
      map.delete(key)
    }
  }
}

const newTables = (): TokenTables => ({ tokens: new Map(), sessions: new Map(), revoked: new Map(), marks: new Map() })

function expiryOf ({ grant }: TokenRecord): number {
  return grant.expiresAtMs ?? Infinity
}
