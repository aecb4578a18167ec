import type { GrantInit } from '../grant.ts'

/** What a token stands for. Never the token itself: a store only ever sees hashes. */
export interface TokenRecord {
  grant: GrantInit
  /** Origin of the page that asked for it; a browser of another origin is refused. */
  origin: string | undefined
}

/** What comes with a token: who presents it, and with which secret of a resume session. */
export interface PresentedToken {
  /** SHA-256 of the token, base64url. It names the session, too. */
  tokenHash: string
  /** SHA-256 of the resume session's secret from the cookie; undefined without one. */
  secretHash: string | undefined
  /** Hash of what tells one client from another, for the browser's own repeats of one request. */
  fingerprint: string
}

/**
 * `fresh`: not redeemed yet. `resumed`: spent, and the cookie shows the secret of its session. `repeated`: spent within
 * the grace, from the same client, and the stream that spent it is over. `busy`: the same while that stream is open.
 * Anything else is nothing.
 */
export interface StoredToken {
  kind: 'fresh' | 'resumed' | 'repeated' | 'busy'
  record: TokenRecord
  /** The session is over in so many ms at the latest, by the store's clock. */
  endsInMs: number
}

export interface RedeemedToken extends StoredToken {
  /**
   * Tells the session's streams apart: 1 for the first, one more with each redemption, in the order in which they were
   * done.
   */
  turn: number
  /** True when an older stream of the session may be open, on whichever node: it has to be superseded. */
  hasOlder: boolean
}

/**
 * How long sessions last: unused, altogether, and how long after the redemption a repeat of the request counts. In ms.
 */
export interface SessionLimits { slidingMs: number, absoluteMs: number, graceMs: number }

/** A session takes so many secrets: its first, and one for each repeat. */
export const MAX_SECRETS = 16

/** Where a store reports its own troubles, and that they are over; Fastify's logger fits. */
export interface TokenStoreLogger {
  warn: (details: object, message: string) => void
  info?: (details: object, message: string) => void
}

/**
 * Where one-time tokens, resume sessions and revocations are kept. One contract suite runs over every implementation.
 * Times are the store's own clock. All reject with 503 `FST_SSE_STORE_UNAVAILABLE` when it cannot be reached.
 */
export interface TokenStore {
  /**
   * Opens it. `onChange` is called when somebody, on any node, revoked something or superseded a session. Settles also
   * while the store is away; it is then tried again for ever.
   */
  start: (onChange: (change: StoreChange) => void, logger: TokenStoreLogger) => Promise<void>
  stop: () => Promise<void>
  /** Keeps a fresh token until it is redeemed, `ttlMs` are over or its grant has expired. */
  issue: (tokenHash: string, record: TokenRecord, ttlMs: number) => Promise<void>
  /**
   * Looks a token up and spends nothing; undefined when it is unknown, spent without its session, revoked or too old.
   */
  find: (presented: PresentedToken, limits: SessionLimits) => Promise<StoredToken | undefined>
  /**
   * Spends a fresh token atomically (one winner of any number of racers) and begins its session with the new secret; or
   * resumes or repeats it: the session slides on, and for `repeated` takes the new secret as well, up to 16 of them.
   * From here on the session has an open stream. Undefined as in `find`, and for a token that is `busy`.
   */
  redeem: (
    presented: PresentedToken,
    newSecretHash: string,
    limits: SessionLimits
  ) => Promise<RedeemedToken | undefined>
  /** The stream of this turn is over; does nothing when a later one is open. */
  release: (session: string, turn: number) => Promise<void>
  /**
   * Slides sessions on while their streams are open; gives those that are still there. Revoked subjects are not looked
   * at.
   */
  touch: (sessions: readonly string[], limits: SessionLimits) => Promise<Set<string>>
  /** Ends the session; its token too when it is not redeemed yet. */
  revokeSession: (session: string) => Promise<void>
  /** What was granted to the subject before now ends; remembered for `ttlMs`. */
  revokeSubject: (subject: string, ttlMs: number) => Promise<void>
  /**
   * Subjects revoked since then (all by default), and when, in Unix ms. Costs what it returns, and not what there is:
   * nodes ask again and again. A later revocation never has an earlier time.
   */
  revokedSubjects: (sinceMs?: number) => Promise<Map<string, number>>
  /** When the latest revocation was made that is remembered no longer; 0 when none has been forgotten. */
  forgottenMs: () => Promise<number>
  /** Tells every node that a session goes on with the stream of this turn: those before it end. */
  supersede: (session: string, turn: number) => Promise<void>
}

export type StoreChange =
  | { kind: 'session revoked', session: string }
  | { kind: 'subject revoked', subject: string, atMs: number }
  | { kind: 'superseded', session: string, turn: number }
  /** Changes may have been missed, after a reconnect: everything is to be checked against the store. */
  | { kind: 'doubt' }

/** True when the grant was given before its subject was revoked; one that does not say when it was given always was. */
export function isRevoked ({ issuedAtMs = 0 }: GrantInit, revokedAtMs: number | undefined): boolean {
  return revokedAtMs !== undefined && issuedAtMs <= revokedAtMs
}
