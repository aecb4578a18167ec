import { ORIGIN, isSameEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'
import type { Location, TopicEnds } from './log/topic-log.ts'

/** Why a client missed something. */
export type GapReason = 'trimmed' | 'fork' | 'unknown' | 'expired'

/** What a client is told in band when its cursor cannot be continued exactly; the data of `stream.gap`. */
export interface Gap {
  topic: string
  reason: GapReason
  /** The client's position, as it stood; null when it could not be read. */
  after: string | null
  /** Id of the first event that follows; null when none is retained. */
  resumedAt: string | null
  /** How many events are gone, where the log can tell. */
  missed?: number
}

/** Where a client goes on, and what it missed on the way there. */
export type Resume = { position: EventId, gap?: undefined } | { position: EventId, gap: { reason: GapReason, missed?: number } }

/**
 * The resume rule. A cursor is continued without a gap exactly when its entry is still there, or it is the neighbour
 * just below the first retained entry, or it is the last id of an emptied log. Everything else is a gap, and is told.
 * Two numbers are neighbours when they differ by 1, or when a jump joins them.
 */
export function resume (cursor: EventId, { ends, exists }: Location): Resume {
  if (exists || isSameEventId(cursor, ends.last)) return { position: cursor }
  const start = positionBeforeFirst(ends)
  if (ends.first && cursor.ms <= ends.first.ms && numberAfter(cursor.n, ends) === ends.first.n) return { position: start }
  return { position: start, gap: gapOf(cursor, ends) }
}

/** The position a client without any history of its own gets when it wants everything retained. */
export function positionBeforeFirst ({ first, last }: TopicEnds): EventId {
  return first ? { ms: first.ms, n: first.n - 1 } : last
}

/** The number that comes after `n` in a topic: the next one, unless a jump skips it. */
export function numberAfter (n: number, { jumps }: Pick<TopicEnds, 'jumps'>): number {
  return jumps.find(jump => jump.from === n)?.to ?? n + 1
}

function gapOf (cursor: EventId, ends: TopicEnds): { reason: GapReason, missed?: number } {
  if (isSameEventId(ends.last, ORIGIN)) return { reason: 'expired' }
  // Older in time, yet not lower in number: the topic was forgotten, and its numbers began anew.
  if (ends.first && cursor.ms < ends.first.ms && cursor.n >= ends.first.n) return { reason: 'expired' }
  const firstKept = ends.first?.n ?? ends.last.n + 1
  if (cursor.n >= firstKept) return { reason: ends.jumps.length > 0 ? 'fork' : 'unknown' }
  if (ends.jumps.some(jump => cursor.n > jump.from && cursor.n < jump.to)) return { reason: 'fork' }
  return { reason: 'trimmed', missed: firstKept - 1 - cursor.n - numbersSkipped(cursor.n, firstKept, ends) }
}

function numbersSkipped (from: number, to: number, { jumps }: TopicEnds): number {
  return jumps.filter(jump => jump.from >= from && jump.to <= to).reduce((sum, jump) => sum + jump.to - jump.from - 1, 0)
}
