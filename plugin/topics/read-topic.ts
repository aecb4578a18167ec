import { checkOptions, integer, isObject, withoutUndefined } from '../common/option-check.ts'
import type { OptionCheck } from '../common/option-check.ts'
import { readCursor, topicTag } from './ids/cursor.ts'
import { badStart } from './errors.ts'
import { formatEventId, isSameEventId, ORIGIN } from './ids/event-id.ts'
import type { EventId } from './ids/event-id.ts'
import { entryBytes } from './log/entry-bytes.ts'
import type { LogEntry, PageLimit, TopicEnds, TopicLog } from './log/topic-log.ts'
import { describeGap, endOf, positionBeforeFirst, resume } from './ids/resume.ts'
import type { Gap } from '../common/in-band.ts'
import type { Resume } from './ids/resume.ts'
import { joinCursors } from './subscription/start.ts'
import { cursorCheck } from './subscription/subscribe-options.ts'

/** Which part of a topic to read. */
export interface ReadOptions {
  /**
   * Cursor to read after: the id of an event, the `cursor` of a page, or a `Last-Event-ID`. An unreadable cursor is
   * reported as a gap with the reason `unknown`. Default: before the earliest retained event.
   */
  after?: string | readonly string[] | undefined
  /** Maximum number of events, 1 to 1,000. Default 100. */
  limit?: number | undefined
  /**
   * Maximum number of bytes of names and data, where each event counts for another 32 bytes, 1 to 16 MiB; a first event
   * that is larger is returned alone. Default 1 MiB.
   */
  maxBytes?: number | undefined
}

/** An event as it was published, with its id. */
export interface TopicEvent {
  id: string
  topic: string
  /** Absent if it was published without a name. */
  event?: string
  /** As text: data that was not a string is JSON. */
  data: string
  /** Reconnection time for clients, in ms. */
  retry?: number
}

/** Consecutive events of a topic. */
export interface TopicPage {
  /** Oldest first; empty at the end of the topic. */
  events: TopicEvent[]
  /** The end of this page, for the next `read`, `subscribe({ after })` or `Last-Event-ID` of a stream of this topic. */
  cursor: string
  /** What is missing between `after` and this page; absent if nothing is. */
  gap?: Gap
  /** True if the topic is closed and this page reaches its end: there is nothing more to read. */
  isClosed: boolean
}

/** The largest `limit` of a page. */
export const MAX_READ_EVENTS = 1_000
/** The largest `maxBytes` of a page. */
export const MAX_READ_BYTES = 16 * 1024 * 1024
/** Bytes of a page that are read from the log at once. */
const STEP_BYTES = 256 * 1024
/** The default `maxBytes` of a page. */
export const DEFAULT_READ_BYTES = 1024 * 1024

const CHECKS: Readonly<Record<keyof ReadOptions, OptionCheck>> = {
  after: cursorCheck,
  limit: integer(1, MAX_READ_EVENTS),
  maxBytes: integer(1, MAX_READ_BYTES)
}

/** Where to read from: after a position, before everything retained, at the end, or unknown. */
type From = EventId | 'earliest' | 'now' | 'unknown'

/**
 * Reads one page, with the same resume rule as the streams. Rejects with `TOPICS_BAD_START` or the error of the log.
 */
export async function readTopic (log: TopicLog, topic: string, options: ReadOptions): Promise<TopicPage> {
  const { from, limit, maxBytes } = checkReadOptions(topic, options)
  const id = typeof from === 'string' ? ORIGIN : from
  const before = await log.locate(topic, id)
  const { position } = findPosition(from, before.ends, before.exists)
  const entries = await readEntries(log, topic, position, { count: limit, bytes: maxBytes }, before.ends.last)
  // Read again after the entries: anything trimmed or deleted in between becomes part of the gap instead of being lost
  // silently.
  const { ends, exists } = await log.locate(topic, id)
  const found = findPosition(from, startingWith(entries[0], ends), exists)
  const last = entries.at(-1)?.id ?? (from === 'now' ? position : found.position)
  return {
    events: entries.map(entry => toEvent(topic, entry)),
    cursor: formatEventId(last),
    ...(found.gap && { gap: describe(topic, from, found, startingWith(entries[0], ends)) }),
    isClosed: ends.isClosed && isSameEventId(last, endOf(ends))
  }
}

/**
 * The entries of a page, read in steps, so that a large page does not keep the process from other work. Ends early
 * where entries are missing between two steps, because they were trimmed or deleted in the meantime: the next page
 * reports it.
 */
async function readEntries (
  log: TopicLog,
  topic: string,
  position: EventId,
  { count, bytes }: PageLimit,
  end: EventId
): Promise<LogEntry[]> {
  const entries: LogEntry[] = []
  let after = position
  for (let left = bytes, isLast = false; !isLast;) {
    isLast = left <= STEP_BYTES
    const step = await log.read(topic, after, { count: count - entries.length, bytes: Math.min(left, STEP_BYTES) })
    const isNext = entries.length === 0 || step[0]?.id.n === after.n + 1
    if (!isNext || (entries.length > 0 && entryBytes(step[0]!) > left)) break
    for (const entry of step) {
      entries.push(entry)
      left -= entryBytes(entry)
      after = entry.id
    }
    isLast ||= step.length === 0 || entries.length === count || left <= 0 || after.n >= end.n
  }
  return entries
}

function checkReadOptions (topic: string, options: ReadOptions): { from: From, limit: number, maxBytes: number } {
  checkOptions(isObject(options) ? withoutUndefined(options) : options, CHECKS, badStart)
  const { after, limit = 100, maxBytes = DEFAULT_READ_BYTES } = options
  return { from: readFrom(topic, joinCursors(after)), limit, maxBytes }
}

/** A topic that is missing from a cursor of several topics starts now, as in a stream. */
function readFrom (topic: string, after: string | undefined): From {
  if (after === undefined) return 'earliest'
  const cursor = readCursor(after)
  if (cursor.kind === 'malformed') return 'unknown'
  return cursor.kind === 'plain' ? cursor.id : cursor.positions.get(topicTag(topic)) ?? 'now'
}

function findPosition (from: From, ends: TopicEnds, exists: boolean): Resume {
  if (from === 'now') return { position: endOf(ends) }
  if (from === 'earliest') return { position: positionBeforeFirst(ends) }
  if (from === 'unknown') return { position: positionBeforeFirst(ends), gap: { reason: 'unknown' } }
  return resume(from, { ends, exists })
}

/** The ends that apply to the page: entries trimmed after the page was read are not missing from it. */
function startingWith (first: LogEntry | undefined, ends: TopicEnds): TopicEnds {
  return first === undefined ? ends : { ...ends, first: first.id }
}

function describe (topic: string, from: From, { position, gap }: Resume, ends: TopicEnds): Gap {
  return describeGap(
    topic,
    typeof from === 'string' ? null : formatEventId(from),
    { position, gap: gap! },
    { ends, exists: false }
  )
}

function toEvent (topic: string, { id, event, data, retry }: LogEntry): TopicEvent {
  return {
    id: formatEventId(id),
    topic,
    ...(event !== undefined && { event }),
    data,
    ...(retry !== undefined && { retry })
  }
}
