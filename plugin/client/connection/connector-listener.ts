import type { EndDetail, ErrorDetail, ExpiringDetail, GapDetail, Published, SubscriptionState } from '../events.ts'

/** Receives what a connector reports. Calls are synchronous and in the order of the wire. */
export interface ConnectorListener {
  opened (): void
  /** The cursor has changed, and the event that changed it has been delivered. */
  moved (cursor: string): void
  published (event: Published): void
  gap (detail: GapDetail): void
  ended (detail: EndDetail): void
  expiring (detail: ExpiringDetail): void
  failed (detail: ErrorDetail): void
  changed (state: SubscriptionState, retryInMs?: number): void
  /** Settles when more events can be accepted; undefined if they can be accepted now. */
  ready (): Promise<unknown> | undefined
}
