import { readCursor, topicTag } from '../ids/cursor.ts'
import type { Cursor } from '../ids/cursor.ts'
import { formatEventId, isBefore, isSameEventId } from '../ids/event-id.ts'
import type { EventId } from '../ids/event-id.ts'
import { positionOfNumber } from '../ids/event-number.ts'
import type { ResumeOutcome, TopicsObserver } from '../observer.ts'
import type { Pages } from './pages.ts'
import { describeGap, positionBeforeFirst, resume } from '../ids/resume.ts'
import type { Gap } from '../../common/in-band.ts'
import type { SubscribeOptions } from './subscribe-options.ts'

/** Where one topic of a connection starts. */
export interface TopicStart {
  position: EventId
  /** The position as the client sent it, if it is written differently: `0-0` also means before the first event. */
  sent?: EventId
  gap: Gap | undefined
  isAtEnd: boolean
}

/** What is needed to find the start of a connection, and the observer of resumes. */
export interface StartInit { pages: Pages, observer: TopicsObserver, options: SubscribeOptions }

/**
 * Finds where each topic of a connection starts. `now` contains the topics' newest positions, in the same order. A
 * topic that is missing from the client's cursor starts now; an unreadable cursor is a gap in every topic.
 */
export async function findStart (
  init: StartInit,
  topics: readonly string[],
  now: readonly EventId[],
  cursorText: string | undefined
): Promise<TopicStart[]> {
  if (cursorText === undefined) return Promise.all(topics.map((topic, at) => startWithoutCursor(init, topic, now[at]!)))
  const cursor = readCursor(cursorText)
  const starts = await Promise.all(
    topics.map((topic, at) => startFromCursor(init, topic, now[at]!, cursor, topics.length === 1))
  )
  // A plain id that matches no topic does not show what was missed in any. A cursor of several topics names them, and
  // topics that it does not name start now.
  const isReadable = cursor.kind === 'vector' || starts.some(start => start !== undefined)
  const after = cursor.kind === 'plain' ? formatEventId(cursor.id) : null
  const found = await Promise.all(
    topics.map(
      (topic, at) => starts[at] ?? (isReadable ? startNow(now[at]!) : startUnknown(init, topic, now[at]!, after))
    )
  )
  found.forEach((start, at) => {
    if (starts[at] || !isReadable) init.observer.onResume(outcomeOf(start))
  })
  return found
}

function outcomeOf ({ gap, isAtEnd }: TopicStart): ResumeOutcome {
  return gap ? gap.reason : isAtEnd ? 'empty' : 'exact'
}

async function startWithoutCursor (
  init: StartInit,
  topic: string,
  now: EventId
): Promise<TopicStart> {
  const { pages, options: { last, sinceMs, startingAfter } } = init
  if (startingAfter !== undefined) {
    return startAfter(init, topic, now, await positionOfNumber(pages, topic, startingAfter))
  }
  if (last === undefined && sinceMs === undefined) return startNow(now)
  const found = await pages.seek(topic, last !== undefined ? { last } : { withinMs: sinceMs! }, now)
  // The log may have advanced since `now` was read; the feed delivers what came after it.
  return startAt(isBefore(now, found) ? now : found, now)
}

/** Undefined if the cursor does not contain this topic. */
async function startFromCursor (
  init: StartInit,
  topic: string,
  now: EventId,
  cursor: Cursor,
  isOnly: boolean
): Promise<TopicStart | undefined> {
  if (cursor.kind === 'malformed') return undefined
  if (cursor.kind === 'vector') {
    const position = cursor.positions.get(topicTag(topic))
    return position && startAfter(init, topic, now, position)
  }
  if (isOnly) return startAfter(init, topic, now, cursor.id)
  // A plain id comes from a connection to one topic: the one that contains exactly this entry.
  const { exists, ends } = await init.pages.locate(topic, cursor.id)
  const isLast = ends.last.n > 0 && isSameEventId(cursor.id, ends.last)
  return exists || isLast ? startAt(cursor.id, now) : undefined
}

async function startAfter (
  { pages, options }: StartInit,
  topic: string,
  now: EventId,
  cursor: EventId
): Promise<TopicStart> {
  const location = await pages.locate(topic, cursor)
  const { position, gap } = resume(cursor, location)
  if (!gap) return { ...startAt(position, now), sent: cursor }
  return startBehindGap(describeGap(topic, formatEventId(cursor), { position, gap }, location), position, now, options)
}

async function startUnknown (
  { pages, options }: StartInit,
  topic: string,
  now: EventId,
  after: string | null
): Promise<TopicStart> {
  const location = await pages.locate(topic, now)
  const position = positionBeforeFirst(location.ends)
  return startBehindGap(
    describeGap(topic, after, { position, gap: { reason: 'unknown' } }, location),
    position,
    now,
    options
  )
}

function startNow (now: EventId): TopicStart {
  return { position: now, gap: undefined, isAtEnd: true }
}

function startAt (position: EventId, now: EventId): TopicStart {
  return { position, gap: undefined, isAtEnd: !isBefore(position, now) }
}

function startBehindGap (gap: Gap, position: EventId, now: EventId, { afterGap }: SubscribeOptions): TopicStart {
  if (afterGap !== 'now') return { position, gap, isAtEnd: false }
  return { position: now, gap: { ...gap, resumedAt: null }, isAtEnd: false }
}

/** Several cursors as one text, joined as Node joins headers. Empty ones are ignored; undefined if there are none. */
export function joinCursors (after: SubscribeOptions['after']): string | undefined {
  return [after ?? []].flat().filter(cursor => cursor !== '').join(', ') || undefined
}
