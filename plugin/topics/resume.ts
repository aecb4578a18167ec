import type { Gap, GapReason } from '../common/in-band.ts'
import { formatEventId, isBefore, isSameEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'
import type { Jump, Location, TopicEnds } from './log/topic-log.ts'

/** Why and, where the log can tell, how many. */
export interface Missed { reason: GapReason, missed?: number }

/** Where a client goes on, and what it missed on the way there. */
export interface Resume { position: EventId, gap?: Missed }

/**
 * The resume rule. A cursor is continued without a gap exactly when its entry is still there, or it is the neighbour
 * just below the first retained entry, or it is the last id of an emptied log. Everything else is a gap, and is
 * reported. Two numbers are neighbours when they differ by 1, or when a jump joins them.
 *
 * After a gap the client continues with the earliest entry retained; after a fork with what follows the last entry that
 * both lines have, because the client has seen everything before it.
 */
export function resume (cursor: EventId, location: Location): Resume {
  const { ends, exists } = location
  if (exists || isSameEventId(cursor, endOf(ends))) return { position: cursor }
  const start = positionBeforeFirst(ends)
  if (isOfEarlierLife(cursor, ends)) return { position: start, gap: { reason: 'expired' } }
  const firstKept = ends.first?.n ?? ends.last.n + 1
  if (cursor.n === 0) return firstKept === 1 ? { position: start } : trimmed(start, 0, firstKept, ends)
  if (isNeighbourBelow(cursor, ends)) return { position: cursor }
  const fork = ends.jumps.find(jump => cursor.n > jump.from.n && cursor.n < jump.to)
  if (fork) return { position: isBefore(start, fork.from) ? fork.from : start, gap: { reason: 'fork' } }
  const isKnown = cursor.n < firstKept && cursor.ms <= (ends.first ?? ends.last).ms
  return isKnown ? trimmed(start, cursor.n, firstKept, ends) : { position: start, gap: { reason: 'unknown' } }
}

function trimmed (position: EventId, after: number, firstKept: number, { jumps }: TopicEnds): Resume {
  return { position, gap: { reason: 'trimmed', missed: numbersBetween(after, firstKept, jumps) } }
}

/**
 * The position of a client that wants everything retained: just before the first entry, as the resume rule recognises
 * it later. On the other side of a jump that is the entry before the jump, because a number inside it reads as lost.
 */
export function positionBeforeFirst (ends: TopicEnds): EventId {
  const { first, jumps } = ends
  if (first === undefined) return endOf(ends)
  return jumps.find(jump => jump.to === first.n)?.from ?? { ms: first.ms, n: first.n - 1 }
}

/** The newest position of a topic. */
export function endOf ({ last, forgottenMs }: TopicEnds): EventId {
  return last.n === 0 ? { ms: forgottenMs, n: 0 } : last
}

/** The number that comes after `n` in a topic: the next one, unless a jump skips it. */
export function numberAfter (n: number, { jumps }: Pick<TopicEnds, 'jumps'>): number {
  return jumps.find(jump => jump.from.n === n)?.to ?? n + 1
}

/** True when an entry of the log comes right after a position, and in the same life of the topic. */
export function isNext (position: EventId, entry: EventId, ends: TopicEnds): boolean {
  return !isOfEarlierLife(position, ends) && numberAfter(position.n, ends) === entry.n && position.ms <= entry.ms
}

/** The contents of `stream.gap`, with the id of the event that follows where that is known already. */
export function describeGap (
  topic: string,
  after: string | null,
  { position, gap }: { position: EventId, gap: Missed },
  { ends }: Location
): Gap {
  // Only what was read together is reported together: asking the log again could find that more is gone by now.
  const isAtFirst = ends.first !== undefined && isSameEventId(position, positionBeforeFirst(ends))
  return { topic, after, resumedAt: isAtFirst ? formatEventId(ends.first!) : null, ...gap }
}

/**
 * True for a position from before the topic was forgotten: its numbers started again since, and say nothing about it.
 */
function isOfEarlierLife (position: EventId, { last, bornMs, forgottenMs }: TopicEnds): boolean {
  if (position.n > 0) return last.n === 0 || position.ms < bornMs
  return position.ms !== forgottenMs && (last.n === 0 || position.ms !== bornMs)
}

function isNeighbourBelow (cursor: EventId, ends: TopicEnds): boolean {
  return ends.first !== undefined && cursor.ms <= ends.first.ms && numberAfter(cursor.n, ends) === ends.first.n
}

/** Numbers strictly between two, without those that jumps skip. */
function numbersBetween (from: number, to: number, jumps: readonly Jump[]): number {
  const skipped = jumps
    .filter(jump => jump.from.n >= from && jump.to <= to)
    .reduce((sum, jump) => sum + jump.to - jump.from.n - 1, 0)
  return to - from - 1 - skipped
}
