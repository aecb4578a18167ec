import { ORIGIN } from './event-id.ts'
import type { EventId } from './event-id.ts'
import type { Pages } from '../subscription/pages.ts'
import { numbersBetween } from './resume.ts'

/** Each further attempt means that the topic changed in the meantime. */
const MAX_TRIES = 5

/**
 * The position of the event with this number, `0-0` for number 0. If the log does not have that event, the result is an
 * id that the resume rule classifies as it would the event's own: trimmed, lost in a failover, or not published yet.
 */
export async function positionOfNumber (pages: Pages, topic: string, n: number): Promise<EventId> {
  if (n === 0) return ORIGIN
  const { first, last, skips } = await pages.endsNow(topic)
  const standIn = { ms: (first ?? last).ms, n }
  if (first === undefined || n < first.n || n > last.n) return standIn
  let count = numbersBetween(n, last.n + 1, skips)
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const found = await pages.seekNow(topic, { last: count })
    if (found.n === n) return found
    // Events have been published since the ends were read.
    count += found.n - n
  }
  return standIn
}
