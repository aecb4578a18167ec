import { compareEventIds, formatEventId, isSameEventId, ORIGIN } from './event-id.ts'
import type { EventId } from './event-id.ts'
import type { Jump, Location, TopicEnds } from './log/topic-log.ts'

/** Why a client missed something. */
export type GapReason = 'trimmed' | 'fork' | 'unknown' | 'expired'

/** What a client is told in band when its cursor cannot be continued exactly; the data of `stream.gap`. */
export interface Gap {
  topic: string
  reason: GapReason
  /** The client's position, as it stood; null when it could not be read. */
  after: string | null
  /** Id of the first event that follows; null when it is not known yet. */
  resumedAt: string | null
  /** How many events are gone, where the log can tell. */
  missed?: number
}

/** Why and, where the log can tell, how many. */
export interface Missed { reason: GapReason, missed?: number }

/** Where a client goes on, and what it missed on the way there. */
export interface Resume { position: EventId, gap?: Missed }

/**
 * The resume rule. A cursor is continued without a gap exactly when its entry is still there, or it is the neighbour
 * just below the first retained entry, or it is the last id of an emptied log. Everything else is a gap, and is told.
 * Two numbers are neighbours when they differ by 1, or when a jump joins them.
 *
 * After a gap the client goes on from the earliest entry retained; after a fork from the last entry that both lines
 * have, because what lies before it the client has had.
 */
export function resume (cursor: EventId, { ends, exists }: Location): Resume {
  if (exists || isSameEventId(cursor, ends.last)) return { position: cursor }
  if (isNeighbourBelow(cursor, ends) && !isOfEarlierLife(cursor, ends)) return { position: cursor }
  const start = positionBeforeFirst(ends)
  if (isOfEarlierLife(cursor, ends)) return { position: start, gap: { reason: 'expired' } }
  const fork = ends.jumps.find(jump => cursor.n > jump.from.n && cursor.n < jump.to)
  if (fork) return { position: compareEventIds(fork.from, start) > 0 ? fork.from : start, gap: { reason: 'fork' } }
  const firstKept = ends.first?.n ?? ends.last.n + 1
  if (cursor.n >= firstKept) return { position: start, gap: { reason: 'unknown' } }
  return { position: start, gap: { reason: 'trimmed', missed: numbersBetween(cursor.n, firstKept, ends.jumps) } }
}

/** The position a client without any history of its own gets when it wants everything retained. */
export function positionBeforeFirst ({ first, last }: TopicEnds): EventId {
  return first ? { ms: first.ms, n: first.n - 1 } : last
}

/** The number that comes after `n` in a topic: the next one, unless a jump skips it. */
export function numberAfter (n: number, { jumps }: Pick<TopicEnds, 'jumps'>): number {
  return jumps.find(jump => jump.from.n === n)?.to ?? n + 1
}

/** Puts a gap into the words that the client is told, with the id of the event it goes on with where that is known already. */
export function describeGap (topic: string, after: string | null, { position, gap }: { position: EventId, gap: Missed }, { ends }: Location): Gap {
  // Only what was read together is told together: asking the log again could find that more is gone by now.
  const isAtFirst = ends.first !== undefined && ends.first.n === position.n + 1
  return { topic, after, resumedAt: isAtFirst ? formatEventId(ends.first!) : null, ...gap }
}

/** True for a cursor from before the topic was forgotten: its numbers began anew since, and say nothing about it. */
function isOfEarlierLife (cursor: EventId, { last, bornMs }: TopicEnds): boolean {
  return !isSameEventId(cursor, ORIGIN) && (isSameEventId(last, ORIGIN) || cursor.ms < bornMs)
}

function isNeighbourBelow (cursor: EventId, ends: TopicEnds): boolean {
  return ends.first !== undefined && cursor.ms <= ends.first.ms && numberAfter(cursor.n, ends) === ends.first.n
}

/** Numbers strictly between two, without those that jumps skip. */
function numbersBetween (from: number, to: number, jumps: readonly Jump[]): number {
  const skipped = jumps.filter(jump => jump.from.n >= from && jump.to <= to).reduce((sum, jump) => sum + jump.to - jump.from.n - 1, 0)
  return to - from - 1 - skipped
}
