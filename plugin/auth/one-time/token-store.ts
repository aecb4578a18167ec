import type { GrantInit } from '../grants/grant.ts'

/** What a token grants. The token itself is not part of it: a store only ever sees hashes. */
export interface TokenRecord {
  grant: GrantInit
  /** Origin of the page that requested it; a browser of another origin is rejected. */
  origin: string | undefined
}

/** What is presented with a token: the client, and the secret of a resume session. */
export interface PresentedToken {
  /** SHA-256 of the token, base64url. It also identifies the session. */
  tokenHash: string
  /** SHA-256 of the resume session's secret from the cookie; undefined without one. */
  secretHash: string | undefined
  /** Hash of what distinguishes one client from another, for the browser's own repetition of a request. */
  fingerprint: string
}

/**
 * `fresh`: not redeemed yet. `resumed`: spent, and the cookie has the secret of its session. `repeated`: spent within
 * the grace period by the same client, and the stream that spent it has closed. `busy`: like `repeated`, but that
 * stream is still open. In all other cases nothing is found.
 */
export interface StoredToken {
  kind: 'fresh' | 'resumed' | 'repeated' | 'busy'
  record: TokenRecord
  /** The session ends after at most this many ms, by the store's clock. */
  endsInMs: number
}

export interface RedeemedToken extends StoredToken {
  /** Orders the streams of the session: 1 for the first, incremented with each redemption. */
  turn: number
  /** True if an older stream of the session may be open, on any node: it must be superseded. */
  hasOlder: boolean
}

/**
 * Limits of sessions in ms: how long they last unused, how long in total, and for how long after the redemption a
 * repeated request is accepted.
 */
export interface SessionLimits { slidingMs: number, absoluteMs: number, graceMs: number }

/** Maximum number of secrets of a session: the first one, and one for each repetition. */
export const MAX_SECRETS = 16

/** Where a store reports that problems have begun or ended; Fastify's logger fits. */
export interface TokenStoreLogger {
  warn: (details: object, message: string) => void
  info?: (details: object, message: string) => void
}

/**
 * Where one-time tokens, resume sessions and revocations are kept. One contract suite runs against every
 * implementation. Times are by the store's own clock. All methods reject with 503 `FST_SSE_STORE_UNAVAILABLE` if the
 * store is unavailable.
 */
export interface TokenStore {
  /**
   * Opens the store. `onChange` is called when anything was revoked or a session superseded, on any node. Settles even
   * if the store is unavailable; connecting is then retried indefinitely.
   */
  start: (onChange: (change: StoreChange) => void, logger: TokenStoreLogger) => Promise<void>
  stop: () => Promise<void>
  /** Keeps a fresh token until it is redeemed, `ttlMs` have passed or its grant has expired. */
  issue: (tokenHash: string, record: TokenRecord, ttlMs: number) => Promise<void>
  /**
   * Looks up a token without spending it; undefined if it is unknown, spent without its session, revoked or too old.
   */
  find: (presented: PresentedToken, limits: SessionLimits) => Promise<StoredToken | undefined>
  /**
   * Spends a fresh token atomically (exactly one of any number of concurrent requests succeeds) and starts its session
   * with the new secret; or resumes or repeats it: the session is extended and, for `repeated`, accepts the new secret
   * as well, up to 16 of them. The session then has an open stream. Undefined as in `find`, and for a token that is
   * `busy`.
   */
  redeem: (
    presented: PresentedToken,
    newSecretHash: string,
    limits: SessionLimits
  ) => Promise<RedeemedToken | undefined>
  /** The stream of this turn has closed; does nothing if a later one is open. */
  release: (session: string, turn: number) => Promise<void>
  /**
   * Extends sessions while their streams are open; returns those that still exist. Does not check for revoked subjects.
   */
  touch: (sessions: readonly string[], limits: SessionLimits) => Promise<Set<string>>
  /** Ends the session, and invalidates its token if that has not been redeemed yet. */
  revokeSession: (session: string) => Promise<void>
  /** Ends everything that was granted to the subject before now; remembered for `ttlMs`. */
  revokeSubject: (subject: string, ttlMs: number) => Promise<void>
  /**
   * Subjects revoked since then (all by default), with the times in Unix ms. The cost depends on the size of the
   * result, not of the store: nodes ask repeatedly. A later revocation never has an earlier time.
   */
  revokedSubjects: (sinceMs?: number) => Promise<Map<string, number>>
  /** The time of the latest revocation that is no longer remembered; 0 if none has been forgotten. */
  forgottenMs: () => Promise<number>
  /** Informs every node that a session continues with the stream of this turn: earlier ones must end. */
  supersede: (session: string, turn: number) => Promise<void>
}

export type StoreChange =
  | { kind: 'session revoked', session: string }
  | { kind: 'subject revoked', subject: string, atMs: number }
  | { kind: 'superseded', session: string, turn: number }
  /** Changes may have been missed, after a reconnect: everything must be checked against the store. */
  | { kind: 'resync' }

/**
 * True if the grant was issued before its subject was revoked; a grant without an issue time always counts as older.
 */
export function isRevoked ({ issuedAtMs = 0 }: GrantInit, revokedAtMs: number | undefined): boolean {
  return revokedAtMs !== undefined && issuedAtMs <= revokedAtMs
}
