import { randomUUID } from 'node:crypto'
import type {
  PresentedToken, SessionLimits, StoreChange, TokenRecord, TokenStore
} from '../../auth/one-time/token-store.ts'

/** How long sessions last. */
export const LIMITS: SessionLimits = { slidingMs: 60_000, absoluteMs: 300_000, graceMs: 10_000 }
/** How long a token can be redeemed. */
export const TTL_MS = 30_000

/** The record of a token of this subject. */
export function recordOf (subject: string, grant: Partial<TokenRecord['grant']> = {}): TokenRecord {
  return { grant: { subject, subscribe: ['news'], publish: [], issuedAtMs: Date.now() - 3_600_000, ...grant }, origin: 'https://app.test' }
}

/** A stand-in for a hash, with the same length. */
export function newHash (): string {
  return randomUUID().padEnd(43, '-')
}

/** A token as a client presents it. */
export function presented (tokenHash: string, given: Partial<PresentedToken> = {}): PresentedToken {
  return { tokenHash, secretHash: undefined, fingerprint: 'a browser', ...given }
}

/**
 * The announced changes, without `resync`, which is announced when a busy machine loses a connection and restores it.
 */
export function told (changes: readonly StoreChange[]): StoreChange[] {
  return changes.filter(({ kind }) => kind !== 'resync')
}

/** Starts a session. */
export async function begin (
  store: TokenStore, record = recordOf('ann'), limits = LIMITS
): Promise<{ session: string, secret: string }> {
  const [session, secret] = [newHash(), newHash()]
  await store.issue(session, record, TTL_MS)
  await store.redeem(presented(session), secret, limits)
  return { session, secret }
}
