import type { GrantInit } from './grant.ts'

/** What a token stands for. Never the token itself: a store only ever sees hashes. */
export interface TokenRecord {
  grant: GrantInit
  /** Origin of the page that asked for it; a browser of another origin is refused. */
  origin: string | undefined
  /** When it stops to be redeemable, in Unix ms. Kept in the record, so that a restored backup cannot prolong it. */
  redeemableUntilMs: number
}

/** What comes with a token: who presents it, and with which secret of a resume session. */
export interface Presented {
  /** SHA-256 of the token, base64url. It names the session, too. */
  tokenHash: string
  /** SHA-256 of the resume session's secret from the cookie; undefined without one. */
  secretHash: string | undefined
  /** Hash of what tells one client from another, for the browser's own repeats of one request. */
  fingerprint: string
}

/**
 * `fresh`: not redeemed yet. `resumed`: spent, and the cookie shows the secret of its session. `repeated`: spent within the
 * grace, from the same client. Anything else is nothing.
 */
export interface Found { kind: 'fresh' | 'resumed' | 'repeated', record: TokenRecord }

/** How long sessions last. */
export interface SessionLimits { slidingMs: number, absoluteMs: number, graceMs: number }

/**
 * Where one-time tokens, resume sessions and revocations are kept. One contract suite runs over every implementation.
 * Times are the store's own clock. All reject with 503 `FST_SSE_STORE_UNAVAILABLE` when it cannot be reached.
 */
export interface TokenStore {
  /** Opens it. `onChange` is called when somebody, on any node, revoked something or superseded a session. */
  start: (onChange: (change: StoreChange) => void) => Promise<void>
  stop: () => Promise<void>
  /** Keeps a fresh token until it is redeemed or `redeemableUntilMs` passes. */
  issue: (tokenHash: string, record: TokenRecord) => Promise<void>
  /** Looks a token up and spends nothing; undefined when it is unknown, spent without its session, revoked or too old. */
  find: (presented: Presented, limits: SessionLimits) => Promise<Found | undefined>
  /**
   * Spends a fresh token atomically (one winner of any number of racers) and begins its session with the new secret; or
   * resumes or repeats it: the session slides on, and for `repeated` takes the new secret as well. Undefined as in `find`.
   */
  redeem: (presented: Presented, newSecretHash: string, limits: SessionLimits) => Promise<Found | undefined>
  /** Slides sessions on while their streams are open; gives those that are still valid. */
  touch: (sessions: readonly string[], limits: SessionLimits) => Promise<Set<string>>
  revokeSession: (session: string) => Promise<void>
  /** What was granted to the subject before now ends; remembered for `ttlMs`. */
  revokeSubject: (subject: string, ttlMs: number) => Promise<void>
  /** Subjects revoked, and when, in Unix ms. */
  revokedSubjects: () => Promise<Map<string, number>>
  /** Tells every node that a session goes on elsewhere; `stream` is the one that stays. */
  supersede: (session: string, stream: string) => Promise<void>
}

export type StoreChange =
  | { kind: 'session revoked', session: string }
  | { kind: 'subject revoked', subject: string, atMs: number }
  | { kind: 'superseded', session: string, stream: string }
