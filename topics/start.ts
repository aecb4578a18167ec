import { show } from '../plugin/errors.ts'
import { parseCursor, topicTag } from './cursor.ts'
import type { Cursor } from './cursor.ts'
import { errors } from './errors.ts'
import { formatEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'
import type { TopicLog } from './log/topic-log.ts'
import { describeGap, positionBeforeFirst, resume } from './resume.ts'
import type { Gap } from './resume.ts'

/** Where a subscription begins. A client that brings a cursor goes on from there; the rest is for one that has none. */
export interface SubscribeOptions {
  /** Cursor to go on from, when the client sends no `Last-Event-ID`. */
  after?: string | undefined
  /** Begin with the events of the last so many ms. Not together with `last`. */
  sinceMs?: number | undefined
  /** Begin with the last so many events of each topic. Not together with `sinceMs`. */
  last?: number | undefined
  /** After a gap go on from the earliest event retained, or from now. Default `earliest`. */
  afterGap?: 'earliest' | 'now' | undefined
}

/** Where one topic of a connection begins. */
export interface TopicStart { position: EventId, gap: Gap | undefined, isAtEnd: boolean }

const MAX_LAST = 10_000
const MAX_SINCE_MS = 366 * 24 * 60 * 60 * 1000

/** Throws `TOPICS_BAD_START` naming the option, its range and the value seen. */
export function checkSubscribeOptions (options: SubscribeOptions): SubscribeOptions {
  const { after, sinceMs, last, afterGap } = options
  if (after !== undefined && typeof after !== 'string') throw new errors.TOPICS_BAD_START('after', 'a cursor', show(after))
  if (sinceMs !== undefined && !isBetween(sinceMs, 1, MAX_SINCE_MS)) throw new errors.TOPICS_BAD_START('since', `1 ms to ${MAX_SINCE_MS} ms`, show(sinceMs))
  if (last !== undefined && !isBetween(last, 0, MAX_LAST)) throw new errors.TOPICS_BAD_START('last', `an integer from 0 to ${MAX_LAST}`, show(last))
  if (last !== undefined && sinceMs !== undefined) throw new errors.TOPICS_BAD_START('last', 'given without "since"', 'both')
  if (afterGap !== undefined && afterGap !== 'earliest' && afterGap !== 'now') throw new errors.TOPICS_BAD_START('afterGap', '"earliest" or "now"', show(afterGap))
  return options
}

/**
 * Finds where each topic of a connection begins. `now` holds the topics' newest positions, in the same order.
 * A topic that is not in the client's cursor begins now; a cursor that cannot be read is a gap in every topic.
 */
export async function findStart (log: TopicLog, topics: readonly string[], now: readonly EventId[], cursorText: string | undefined, options: SubscribeOptions): Promise<TopicStart[]> {
  if (cursorText === undefined) return Promise.all(topics.map((topic, at) => startWithoutCursor(log, topic, now[at]!, options)))
  const cursor = parseCursor(cursorText)
  const starts = await Promise.all(topics.map((topic, at) => startFromCursor({ log, topic, now: now[at]!, cursor, cursorText, isOnly: topics.length === 1, options })))
  const isForeign = cursor.kind === 'plain' && starts.every(start => start === undefined)
  return Promise.all(topics.map((topic, at) => {
    const known = starts[at]
    if (known) return known
    return isForeign ? unknownStart(log, topic, now[at]!, cursorText, options) : { position: now[at]!, gap: undefined, isAtEnd: true }
  }))
}

async function startWithoutCursor (log: TopicLog, topic: string, now: EventId, { last, sinceMs }: SubscribeOptions): Promise<TopicStart> {
  if (last === undefined && sinceMs === undefined) return { position: now, gap: undefined, isAtEnd: true }
  const found = await log.seek(topic, last !== undefined ? { last } : { sinceMs: Date.now() - sinceMs! })
  // The log may have moved on since `now` was read; the feed brings what came after it.
  const position = found.n > now.n ? now : found
  return { position, gap: undefined, isAtEnd: position.n >= now.n }
}

interface FromCursor { log: TopicLog, topic: string, now: EventId, cursor: Cursor, cursorText: string, isOnly: boolean, options: SubscribeOptions }

/** Undefined when the cursor says nothing of this topic. */
async function startFromCursor (from: FromCursor): Promise<TopicStart | undefined> {
  const { log, topic, now, cursor, cursorText, isOnly, options } = from
  if (cursor.kind === 'malformed') return unknownStart(log, topic, now, cursorText, options)
  if (cursor.kind === 'vector') {
    const position = cursor.positions.get(topicTag(topic))
    return position && resumeAt(log, topic, now, position, options)
  }
  if (isOnly) return resumeAt(log, topic, now, cursor.id, options)
  // A plain id comes from a connection to one topic: the one that has this very entry.
  const { exists } = await log.locate(topic, cursor.id)
  return exists ? { position: cursor.id, gap: undefined, isAtEnd: cursor.id.n >= now.n } : undefined
}

async function resumeAt (log: TopicLog, topic: string, now: EventId, cursor: EventId, options: SubscribeOptions): Promise<TopicStart> {
  const location = await log.locate(topic, cursor)
  const { position, gap } = resume(cursor, location)
  if (!gap) return { position, gap: undefined, isAtEnd: position.n >= now.n }
  return startAfterGap(topic, now, describeGap(topic, formatEventId(cursor), { position, gap }, location), position, options)
}

async function unknownStart (log: TopicLog, topic: string, now: EventId, cursorText: string, options: SubscribeOptions): Promise<TopicStart> {
  const location = await log.locate(topic, now)
  const position = positionBeforeFirst(location.ends)
  const after = parseCursor(cursorText).kind === 'malformed' ? null : cursorText
  return startAfterGap(topic, now, describeGap(topic, after, { position, gap: { reason: 'unknown' } }, location), position, options)
}

function startAfterGap (topic: string, now: EventId, gap: Gap, position: EventId, { afterGap }: SubscribeOptions): TopicStart {
  if (afterGap !== 'now') return { position, gap, isAtEnd: false }
  return { position: now, gap: { ...gap, resumedAt: null }, isAtEnd: false }
}

function isBetween (value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && Number(value) >= min && Number(value) <= max
}
