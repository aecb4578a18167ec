import type { EventId } from '../ids/event-id.ts'
import { createRetention, rememberedMs } from '../retention.ts'
import type { RetentionOf, RetentionRule } from '../retention.ts'
import { endingOf, expiryOf } from './lease.ts'
import type { LeaseState } from './lease.ts'
import type { TopicEnds } from './topic-log.ts'

/** The fields of a topic that determine how long it lives. */
export interface Living {
  readonly last: EventId
  readonly bornMs: number
  /** 1 ms after the last entry of the previous life; 0 or undefined if there was none. */
  readonly forgottenMs?: number
  readonly state: LeaseState
  /** The clock at the last append, close or request of a producer. */
  readonly touchedAt: number
}

/**
 * How long topics and idempotency keys live in a log that keeps time itself, according to the retention and a clock.
 * Shared by the logs in memory and in files; in Redis, scripts do this.
 */
export class Lifetimes {
  readonly #now: () => number
  /** The retention of a topic. */
  readonly retentionOf: RetentionOf

  /** Throws `TOPICS_BAD_OPTION` for an invalid rule. */
  constructor (rules: readonly RetentionRule[] | undefined, now: () => number) {
    this.retentionOf = createRetention(rules)
    this.#now = now
  }

  /** True if the topic was idle for so long that it is forgotten. */
  hasExpired (topic: string, living: Living): boolean {
    const expireAfterMs = this.#expiryOf(topic, living)
    return expireAfterMs > 0 && this.#now() - idleSince(living) >= expireAfterMs
  }

  /**
   * The next step for an expired topic: its life ends; that it existed is remembered for a while, so that clients are
   * informed; then it is dropped.
   */
  fateOf (topic: string, living: Living): 'end' | 'remember' | 'drop' {
    if (this.#now() - idleSince(living) >= rememberedMs(this.#expiryOf(topic, living))) return 'drop'
    return living.last.n > 0 || living.state.isClosed ? 'end' : 'remember'
  }

  /** True for an idempotency key that has expired. */
  isStale (topic: string, { usedAt }: { usedAt: number }): boolean {
    return this.#now() - usedAt >= this.retentionOf(topic).idempotencyMs
  }

  /** Both ends of a topic with its current entries. */
  endsOf (topic: string, living: Living, { first, count }: { first: EventId | undefined, count: number }): TopicEnds {
    const { last, bornMs, forgottenMs = 0, state } = living
    const nowMs = this.#now()
    return {
      first,
      last,
      count,
      bornMs,
      forgottenMs,
      expireAfterMs: this.#expiryOf(topic, living),
      nowMs,
      ...endingOf(state, nowMs),
      skips: []
    }
  }

  #expiryOf (topic: string, { state }: Living): number {
    return expiryOf(state, this.retentionOf(topic).expireAfterMs)
  }
}

/** A silent producer keeps its topic while its lease is valid, so that readers are informed that it was lost. */
export function idleSince ({ touchedAt, state: { lease } }: Pick<Living, 'touchedAt' | 'state'>): number {
  return Math.max(touchedAt, lease.untilMs)
}

/** The end of this life in ms, which the next life must know: its ids start after that. */
export function endedMs ({ last, forgottenMs = 0 }: Pick<Living, 'last' | 'forgottenMs'>): number {
  return last.n > 0 ? last.ms + 1 : forgottenMs
}
