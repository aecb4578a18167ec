import { isRevoked, MAX_SECRETS } from './token-store.ts'
import type { StoredToken, PresentedToken, RedeemedToken, SessionLimits, StoreChange, TokenRecord, TokenStore } from './token-store.ts'

interface Token { record: TokenRecord, untilMs: number }
interface Session extends Token { endsAtMs: number, spentAtMs: number, fingerprint: string, secrets: string[], turn: number }
interface Revocation { atMs: number, untilMs: number }

/** Tokens and sessions in the memory of one process: for development, and for apps of one process. Gone with it. */
export class MemoryTokenStore implements TokenStore {
  readonly #now: () => number
  readonly #tokens = new Map<string, Token>()
  readonly #sessions = new Map<string, Session>()
  readonly #revoked = new Map<string, Revocation>()
  #onChange: (change: StoreChange) => void = () => {}

  /** `now` gives Unix ms; the clock by default. */
  constructor ({ now = Date.now }: { now?: () => number } = {}) {
    this.#now = now
  }

  async start (onChange: (change: StoreChange) => void): Promise<void> { this.#onChange = onChange }

  async stop (): Promise<void> { this.#onChange = () => {} }

  async issue (tokenHash: string, record: TokenRecord, ttlMs: number): Promise<void> {
    this.#sweep(this.#tokens)
    this.#tokens.set(tokenHash, { record, untilMs: Math.min(this.#now() + ttlMs, expiryOf(record)) })
  }

  async find (presented: PresentedToken, limits: SessionLimits): Promise<StoredToken | undefined> {
    return this.#find(presented, limits)
  }

  async redeem (presented: PresentedToken, newSecretHash: string, limits: SessionLimits): Promise<RedeemedToken | undefined> {
    const found = this.#find(presented, limits)
    if (found?.kind === 'fresh') this.#begin(presented, found, newSecretHash)
    else if (found?.kind === 'repeated') this.#sessions.get(presented.tokenHash)?.secrets.push(newSecretHash)
    if (!found) return undefined
    this.#slide(presented.tokenHash, limits)
    return { ...found, turn: ++this.#sessions.get(presented.tokenHash)!.turn }
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
    const atMs = this.#now()
    this.#sweep(this.#revoked)
    this.#revoked.delete(subject)
    this.#revoked.set(subject, { atMs, untilMs: atMs + ttlMs })
    this.#onChange({ kind: 'subject revoked', subject, atMs })
  }

  async revokedSubjects (): Promise<Map<string, number>> {
    const now = this.#now()
    return new Map([...this.#revoked].filter(([, { untilMs }]) => untilMs > now).map(([subject, { atMs }]) => [subject, atMs]))
  }

  async supersede (session: string, turn: number): Promise<void> {
    this.#onChange({ kind: 'superseded', session, turn })
  }

  #find (presented: PresentedToken, { absoluteMs, graceMs }: SessionLimits): StoredToken | undefined {
    const now = this.#now()
    const token = this.#live(this.#tokens, presented.tokenHash)
    if (token) return this.#unlessRevoked({ kind: 'fresh', record: token.record, endsInMs: Math.min(absoluteMs, expiryOf(token.record) - now) })
    const session = this.#live(this.#sessions, presented.tokenHash)
    if (!session) return undefined
    const { record, secrets, spentAtMs, fingerprint } = session
    const endsInMs = session.endsAtMs - now
    if (presented.secretHash !== undefined && secrets.includes(presented.secretHash)) return this.#unlessRevoked({ kind: 'resumed', record, endsInMs })
    const isRepeat = fingerprint === presented.fingerprint && now - spentAtMs < graceMs && secrets.length < MAX_SECRETS
    return isRepeat ? this.#unlessRevoked({ kind: 'repeated', record, endsInMs }) : undefined
  }

  #unlessRevoked (found: StoredToken): StoredToken | undefined {
    const { grant } = found.record
    return isRevoked(grant, this.#live(this.#revoked, grant.subject)?.atMs) ? undefined : found
  }

  #begin ({ tokenHash, fingerprint }: PresentedToken, { record, endsInMs }: StoredToken, secretHash: string): void {
    const now = this.#now()
    this.#tokens.delete(tokenHash)
    this.#sweep(this.#sessions)
    this.#sessions.set(tokenHash, { record, untilMs: now + endsInMs, endsAtMs: now + endsInMs, spentAtMs: now, fingerprint, secrets: [secretHash], turn: 0 })
  }

  /** Sessions used lately stand last, so that the sweep meets the others first. */
  #slide (name: string, { slidingMs }: SessionLimits): boolean {
    const session = this.#live(this.#sessions, name)
    if (!session) return false
    this.#sessions.delete(name)
    this.#sessions.set(name, { ...session, untilMs: Math.min(this.#now() + slidingMs, session.endsAtMs) })
    return true
  }

  #live<T extends { untilMs: number }> (map: ReadonlyMap<string, T>, key: string): T | undefined {
    const value = map.get(key)
    return value && value.untilMs > this.#now() ? value : undefined
  }

  /** Drops what is over, from the oldest on, up to the first that is not: so that nothing heaps up, and no call walks far. */
  #sweep (map: Map<string, { untilMs: number }>): void {
    const now = this.#now()
    for (const [key, { untilMs }] of map) {
      if (untilMs > now) break
      map.delete(key)
    }
  }
}

function expiryOf ({ grant }: TokenRecord): number {
  return grant.expiresAtMs ?? Infinity
}
