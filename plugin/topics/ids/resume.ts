import type { Gap, GapReason } from '../../common/in-band.ts'
import { formatEventId, isBefore, isSameEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'
import type { Location, Skip, TopicEnds } from '../log/topic-log.ts'

/** Why events are missing and, if the log knows it, how many. */
export interface Missed { reason: GapReason, missed?: number }

/** Where a client continues, and what it missed. */
export interface Resume { position: EventId, gap?: Missed }

/**
 * The resume rule. A client continues after its cursor without a gap exactly if the cursor's entry still exists, or is
 * the neighbour just below the first retained entry, or is the last id of an emptied log. Everything else is a gap, and
 * is reported. Two numbers are neighbours if they differ by 1, or if a skip connects them.
 *
 * After a gap the client continues with the earliest retained entry; after a fork, with the entries that follow the
 * last entry common to both histories, because the client has seen everything before it.
 *
 * The position after a gap never causes the same gap again, whatever the log says: a client that resumes from there
 * continues.
 */
export function resume (cursor: EventId, location: Location): Resume {
  const { ends, exists } = location
  const start = positionBeforeFirst(ends)
  if (isSameEventId(cursor, endOf(ends)) || isSameEventId(cursor, start)) return { position: cursor }
  if (isOfEarlierLife(cursor, ends)) return { position: start, gap: { reason: 'expired' } }
  if (exists) return { position: cursor }
  const firstKept = ends.first?.n ?? ends.last.n + 1
  if (cursor.n === 0) return firstKept === 1 ? { position: start } : trimmed(start, 0, firstKept, ends)
  if (isNeighbourBelow(cursor, ends)) return { position: cursor }
  const fork = ends.skips.find(skip => cursor.n > skip.from.n && cursor.n < skip.to)
  if (fork) return { position: isBefore(start, fork.from) ? fork.from : start, gap: { reason: 'fork' } }
  const isKnown = cursor.n < firstKept && cursor.ms <= (ends.first ?? ends.last).ms
  return isKnown ? trimmed(start, cursor.n, firstKept, ends) : { position: start, gap: { reason: 'unknown' } }
}

function trimmed (position: EventId, after: number, firstKept: number, { skips }: TopicEnds): Resume {
  return { position, gap: { reason: 'trimmed', missed: numbersBetween(after, firstKept, skips) } }
}

/**
 * The position of a client that wants everything retained: just before the first entry, in the form that the resume
 * rule recognises later. If there is a skip directly before it, that is the entry before the skip, because a number
 * inside the skip would be treated as lost.
 */
export function positionBeforeFirst (ends: TopicEnds): EventId {
  const { first, last, bornMs, skips } = ends
  // In a log that contradicts itself, the entries may be those of an earlier life.
  if (first === undefined || last.n === 0) return endOf(ends)
  if (first.ms < bornMs) return { ms: bornMs, n: 0 }
  return skips.find(skip => skip.to === first.n)?.from ?? { ms: first.ms, n: first.n - 1 }
}

/** The newest position of a topic. */
export function endOf ({ last, forgottenMs }: TopicEnds): EventId {
  return last.n === 0 ? { ms: forgottenMs, n: 0 } : last
}

/** The number that follows `n` in a topic: the next one, unless a skip follows. */
export function numberAfter (n: number, { skips }: Pick<TopicEnds, 'skips'>): number {
  return skips.find(skip => skip.from.n === n)?.to ?? n + 1
}

/** True if an entry of the log directly follows a position, in the same life of the topic. */
export function isNext (position: EventId, entry: EventId, ends: TopicEnds): boolean {
  return !isOfEarlierLife(position, ends) && numberAfter(position.n, ends) === entry.n && position.ms <= entry.ms
}

/** The data of `stream.gap`, with the id of the event that follows if that is already known. */
export function describeGap (
  topic: string,
  after: string | null,
  { position, gap }: { position: EventId, gap: Missed },
  { ends }: Location
): Gap {
  // Only values that were read together are combined: by now, more could be gone from the log.
  const isAtFirst = ends.first !== undefined && isSameEventId(position, positionBeforeFirst(ends))
  return { topic, after, resumedAt: isAtFirst ? formatEventId(ends.first!) : null, ...gap }
}

/**
 * True for a position from before the topic was forgotten: its numbers have started again since, so they are unrelated.
 */
function isOfEarlierLife (position: EventId, { last, bornMs, forgottenMs }: TopicEnds): boolean {
  if (position.n > 0) return last.n === 0 || position.ms < bornMs
  return position.ms !== forgottenMs && (last.n === 0 || position.ms !== bornMs)
}

function isNeighbourBelow (cursor: EventId, ends: TopicEnds): boolean {
  return ends.first !== undefined && cursor.ms <= ends.first.ms && numberAfter(cursor.n, ends) === ends.first.n
}

/** How many numbers lie strictly between two, without skipped ones. */
export function numbersBetween (from: number, to: number, skips: readonly Skip[]): number {
  const skipped = skips
    .filter(skip => skip.from.n >= from && skip.to <= to)
    .reduce((sum, skip) => sum + skip.to - skip.from.n - 1, 0)
  return to - from - 1 - skipped
}
