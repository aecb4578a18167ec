import { isBetween } from '../common/option-check.ts'
import { show } from '../common/show.ts'
import { has } from '../reply/source-kind.ts'
import { readCursor, topicTag } from './cursor.ts'
import type { Cursor } from './cursor.ts'
import { errors } from './errors.ts'
import { formatEventId, isBefore, isSameEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'
import type { ResumeOutcome, TopicsObserver } from './observer.ts'
import type { Pages } from './pages.ts'
import { describeGap, positionBeforeFirst, resume } from './resume.ts'
import type { Gap } from '../common/in-band.ts'

/** Where a subscription begins. A client that brings a cursor goes on from there; the rest is for one that has none. */
export interface SubscribeOptions {
  /**
   * Cursor to go on from, when the client sends no `Last-Event-ID`. Of several, such as a query parameter given twice,
   * the last one that is a cursor counts.
   */
  after?: string | readonly string[] | undefined
  /** Begin with the events of the last so many ms. Not together with `last`. */
  sinceMs?: number | undefined
  /** Begin with the last so many events of each topic. Not together with `sinceMs`. */
  last?: number | undefined
  /** After a gap go on from the earliest event retained, or from now. Default `earliest`. */
  afterGap?: 'earliest' | 'now' | undefined
  /**
   * True to write each event's data as JSON `{"topic","id","event","data"}`, with the event's own id and its data as
   * text, for clients of several topics that need to know which one an event is of. Default false.
   */
  envelope?: boolean | undefined
  /** Ends the streams of the subscription and the loops over it when it is aborted. Default none. */
  signal?: AbortSignal | undefined
}

/** Where one topic of a connection begins. */
export interface TopicStart {
  position: EventId
  /** The position as the client sent it, where it is written differently: `0-0` is also that before the first event. */
  sent?: EventId
  gap: Gap | undefined
  isAtEnd: boolean
}

/** Upper bound of `last`. */
export const MAX_LAST = 10_000
const MAX_SINCE_MS = 366 * 24 * 60 * 60 * 1000

/** Throws `TOPICS_BAD_START` naming the option, its range and the value seen. */
export function checkSubscribeOptions (options: SubscribeOptions): SubscribeOptions {
  const { after, sinceMs, last, afterGap, envelope, signal } = options
  if (after !== undefined && ![after].flat().every(each => typeof each === 'string')) {
    throw new errors.TOPICS_BAD_START('after', 'a cursor', show(after))
  }
  if (sinceMs !== undefined && !isBetween(sinceMs, 1, MAX_SINCE_MS)) {
    throw new errors.TOPICS_BAD_START('since', `1 ms to ${MAX_SINCE_MS} ms`, show(sinceMs))
  }
  if (last !== undefined && !isBetween(last, 0, MAX_LAST)) {
    throw new errors.TOPICS_BAD_START('last', `an integer from 0 to ${MAX_LAST}`, show(last))
  }
  if (last !== undefined && sinceMs !== undefined) {
    throw new errors.TOPICS_BAD_START('last', 'given without "since"', 'both')
  }
  if (afterGap !== undefined && afterGap !== 'earliest' && afterGap !== 'now') {
    throw new errors.TOPICS_BAD_START('afterGap', '"earliest" or "now"', show(afterGap))
  }
  if (envelope !== undefined && typeof envelope !== 'boolean') {
    throw new errors.TOPICS_BAD_START('envelope', 'true or false', show(envelope))
  }
  if (signal !== undefined && !isAbortSignal(signal)) {
    throw new errors.TOPICS_BAD_START('signal', 'an AbortSignal', show(signal))
  }
  return options
}

/** By its shape: a signal may be of another realm or of a polyfill. */
function isAbortSignal (value: unknown): boolean {
  return has(value, 'addEventListener', 'removeEventListener') && 'aborted' in value
}

/** What is asked to find the start of a connection, and who hears of resumes. */
export interface StartInit { pages: Pages, observer: TopicsObserver, options: SubscribeOptions }

/**
 * Finds where each topic of a connection begins. `now` holds the topics' newest positions, in the same order.
 * A topic that is not in the client's cursor begins now; a cursor that cannot be read is a gap in every topic.
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
  // A plain id that fits no topic says nothing about what was missed in any. A vector names its topics, and those that
  // it does not name begin now.
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
  { pages, options: { last, sinceMs } }: StartInit,
  topic: string,
  now: EventId
): Promise<TopicStart> {
  if (last === undefined && sinceMs === undefined) return startNow(now)
  const found = await pages.seek(topic, last !== undefined ? { last } : { withinMs: sinceMs! }, now)
  // The log may have moved on since `now` was read; the feed brings what came after it.
  return startAt(isBefore(now, found) ? now : found, now)
}

/** Undefined when the cursor says nothing of this topic. */
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
  // A plain id comes from a connection to one topic: the one that has this very entry.
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

/** Several cursors as one text, as Node joins headers. Empty ones are ignored; undefined when there is none. */
export function joinCursors (after: SubscribeOptions['after']): string | undefined {
  return [after ?? []].flat().filter(cursor => cursor !== '').join(', ') || undefined
}
