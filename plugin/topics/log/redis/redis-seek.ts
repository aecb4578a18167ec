import { parseEventId } from '../../ids/event-id.ts'
import type { EventId } from '../../ids/event-id.ts'
import { positionBeforeFirst } from '../../ids/resume.ts'
import type { TopicEnds } from '../topic-log.ts'
import type { ScriptCommands } from './scripts/redis-scripts.ts'

/** Finds the first entry from an id on; undefined if there is none. */
type Next = (from: string) => Promise<EventId | undefined>

/**
 * Redis finds entries only by id, and an id starts with the time. Numbers are consecutive and increase with the time,
 * so the entry with a given number is found by trying times: alternately the time at which it should be if events were
 * evenly distributed, and the middle of the range. Each attempt reads one entry, so the cost grows with the logarithm
 * of the time span, not with the number or size of the events.
 *
 * Resolves to the position of that number; if its entry is no longer retained, to the position before the first entry.
 */
export async function seekNumber (n: number, ends: TopicEnds, next: Next): Promise<EventId> {
  const { first, last } = ends
  if (first === undefined || n < first.n) return positionBeforeFirst(ends)
  let low = first
  let high = last
  for (let isEven = true; low.ms < high.ms; isEven = !isEven) {
    const share = isEven ? (n - low.n) / (high.n - low.n) : 0.5
    const ms = low.ms + Math.max(1, Math.ceil((high.ms - low.ms) * share))
    const found = await next(`${ms}-0`)
    if (found !== undefined && found.n <= n) low = found
    else high = { ms: ms - 1, n: found?.n ?? last.n }
  }
  return { ms: low.ms, n }
}

/** The number of the entry that is followed by exactly `count` entries. */
export function numberBelow (count: number, { last, skips }: TopicEnds): number {
  let n = last.n
  let left = count
  for (const skip of skips.toReversed().filter(skip => skip.to <= last.n)) {
    const above = n - skip.to + 1
    if (left < above) break
    left -= above
    n = skip.from.n
  }
  return n - left
}

/** The number of the entry before the one with this number. */
export function numberBefore (n: number, { skips }: TopicEnds): number {
  return skips.find(skip => skip.to === n)?.from.n ?? n - 1
}

/** The first entry of this library from an id on; those of other programs are skipped. */
export async function firstFrom (
  client: Pick<ScriptCommands, 'topicFirst'>,
  key: string,
  from: string
): Promise<EventId | undefined> {
  const text = await client.topicFirst(key, from)
  return text === null ? undefined : parseEventId(text)
}
