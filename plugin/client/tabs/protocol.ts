import type { ErrorDetail, ExpiringDetail, GapDetail, Published } from '../events.ts'
import type { Position } from './position.ts'

/** What tabs say to each other over a BroadcastChannel. All of it can be cloned. */
export type TabMessage =
  /** A new leader: everybody is to join it, and hears nobody else from now on. */
  | { readonly kind: 'lead', readonly leader: string }
  /** To the leader: who I am, what I want, and where I am. */
  | {
    readonly kind: 'join'
    readonly member: string
    readonly topics: readonly string[]
    readonly positions: ReadonlyMap<string, Position>
  }
  | { readonly kind: 'leave', readonly member: string }
  /** By the leader alone. */
  | LeaderMessage & { readonly leader: string }

export type LeaderMessage =
  /** The stream is open, from positions that suit these members. */
  | { readonly kind: 'open', readonly positions: ReadonlyMap<string, Position>, readonly members: readonly string[] }
  | { readonly kind: 'interrupted' }
  | { readonly kind: 'published', readonly event: Published, readonly position: Position | undefined }
  | { readonly kind: 'gap', readonly detail: GapDetail }
  | { readonly kind: 'end', readonly topic: string, readonly reason: string }
  /** The server answered 204: nothing remains for these members. */
  | { readonly kind: 'finished', readonly members: readonly string[] }
  | { readonly kind: 'expiring', readonly detail: ExpiringDetail }
  /** For these members, or for all of them. */
  | { readonly kind: 'failed', readonly detail: Omit<ErrorDetail, 'cause'>, readonly members?: readonly string[] }
