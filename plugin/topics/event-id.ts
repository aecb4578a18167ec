/**
 * The id of an event: `<ms>-<n>`. `ms` is the log's clock in Unix milliseconds and never goes back within a topic;
 * `n` counts the topic's events densely from 1. So ids sort, can be sought by time, and two events are neighbours
 * exactly when their `n` differ by 1. The same string is the id of the entry in a Redis stream.
 */
export interface EventId { readonly ms: number, readonly n: number }

/**
 * The position in a topic that never had an event. An event has `n` from 1 on; a position with `n` 0 belongs to one
 * life of a topic, so that a client learns of a life that came and went without it:
 *
 * - `0-0`: there was no event, as far as is known. Clients write it by hand to read from the start;
 * - `<bornMs>-0`: before the first event of the life that began then;
 * - `<forgottenMs>-0`: no event since the life before was forgotten.
 */
export const ORIGIN: EventId = { ms: 0, n: 0 }

const PATTERN = /^(0|[1-9]\d{0,15})-(0|[1-9]\d{0,15})$/

/** `<ms>-<n>` in decimal. */
export function formatEventId ({ ms, n }: EventId): string {
  return `${ms}-${n}`
}

/** Reads `<ms>-<n>`; undefined for anything else (a sign, a space, a leading zero, beyond 2^53 - 1). */
export function parseEventId (text: string): EventId | undefined {
  const match = PATTERN.exec(text)
  if (!match) return undefined
  const ms = Number(match[1])
  const n = Number(match[2])
  return Number.isSafeInteger(ms) && Number.isSafeInteger(n) ? { ms, n } : undefined
}

/** Negative when `a` comes before `b`, 0 when they are the same, positive when after. */
export function compareEventIds (a: EventId, b: EventId): number {
  return a.ms - b.ms || a.n - b.n
}

/** The ids of events that were appended together: one time, and numbers that follow each other. */
export function idsFrom (first: EventId, count: number): EventId[] {
  return Array.from({ length: count }, (_, at) => ({ ms: first.ms, n: first.n + at }))
}

export function isSameEventId (a: EventId, b: EventId): boolean {
  return a.n === b.n && a.ms === b.ms
}

/** True when `a` comes before `b`. Across the lives of a topic, too: ids rise from one to the next. */
export function isBefore (a: EventId, b: EventId): boolean {
  return compareEventIds(a, b) < 0
}
