/**
 * The id of an event: `<ms>-<n>`. `ms` is the log's clock in Unix milliseconds and never goes back within a topic; `n`
 * numbers the topic's events consecutively from 1. So ids can be sorted and searched by time, and two events are
 * neighbours exactly if their `n` differ by 1. The same string is the id of the entry in a Redis stream.
 */
export interface EventId { readonly ms: number, readonly n: number }

/**
 * The position in a topic that never had an event. The `n` of an event is at least 1; a position with `n` 0 belongs to
 * one life of a topic, so that a client is informed of a life that came and went without it:
 *
 * - `0-0`: there was no event, as far as is known. Clients also send it to read from the start;
 * - `<bornMs>-0`: before the first event of the life that started then;
 * - `<forgottenMs>-0`: no event since the previous life was forgotten.
 */
export const ORIGIN: EventId = { ms: 0, n: 0 }

const PATTERN = /^(0|[1-9]\d{0,15})-(0|[1-9]\d{0,15})$/

/** `<ms>-<n>` in decimal. */
export function formatEventId ({ ms, n }: EventId): string {
  return `${ms}-${n}`
}

/** Parses `<ms>-<n>`; undefined for anything else (a sign, a space, a leading zero, a number beyond 2^53 - 1). */
export function parseEventId (text: string): EventId | undefined {
  const match = PATTERN.exec(text)
  if (!match) return undefined
  const ms = Number(match[1])
  const n = Number(match[2])
  return Number.isSafeInteger(ms) && Number.isSafeInteger(n) ? { ms, n } : undefined
}

/** Negative if `a` comes before `b`, 0 if they are equal, otherwise positive. */
export function compareEventIds (a: EventId, b: EventId): number {
  return a.ms - b.ms || a.n - b.n
}

/** The ids of events that were appended together: the same time, and consecutive numbers. */
export function idsFrom (first: EventId, count: number): EventId[] {
  return Array.from({ length: count }, (_, at) => ({ ms: first.ms, n: first.n + at }))
}

export function isSameEventId (a: EventId, b: EventId): boolean {
  return a.n === b.n && a.ms === b.ms
}

/** True if `a` comes before `b`. Also valid across the lives of a topic, because ids increase from one to the next. */
export function isBefore (a: EventId, b: EventId): boolean {
  return compareEventIds(a, b) < 0
}
