import { withoutUndefined } from '../common/option-check.ts'
import { show } from '../common/show.ts'
import { readCursor, topicTag } from './cursor.ts'
import { errors } from './errors.ts'
import { formatEventId, isSameEventId, ORIGIN } from './event-id.ts'
import type { EventId } from './event-id.ts'
import type { LogEntry, TopicEnds, TopicLog } from './log/topic-log.ts'
import { describeGap, endOf, positionBeforeFirst, resume } from './resume.ts'
import type { Gap } from '../common/in-band.ts'
import type { Resume } from './resume.ts'
import { joinCursors } from './start.ts'

/** Which part of a topic to read. */
export interface ReadOptions {
  /**
   * Cursor to read after, as a client has it: the id of an event, the `cursor` of a page, or a `Last-Event-ID`. One
   * that cannot be read is reported as a gap with the reason `unknown`. Default: before the earliest event retained.
   */
  after?: string | readonly string[] | undefined
  /** Maximum number of events, 1 to 1,000. Default 100. */
  limit?: number | undefined
  /** Maximum number of bytes of data, 1 to 16 MiB; a first event that is larger is returned alone. Default 1 MiB. */
  maxBytes?: number | undefined
}

/** An event as it was published, with its id. */
export interface TopicEvent {
  id: string
  topic: string
  /** Absent when it was published without a name. */
  event?: string
  /** As text: data that was not a string is JSON. */
  data: string
  /** Reconnection time for clients, in ms. */
  retry?: number
}

/** Some events of a topic in a row. */
export interface TopicPage {
  /** Oldest first; empty at the end of the topic. */
  events: TopicEvent[]
  /** Where this page ends, for the next `read`, `subscribe({ after })` or `Last-Event-ID` of a stream of this topic. */
  cursor: string
  /** What is missing between `after` and this page; absent when nothing is. */
  gap?: Gap
  /** True when the topic is closed and this page reaches its end: there is nothing more to read. */
  isClosed: boolean
}

/** The largest `limit` of a page. */
export const MAX_READ_EVENTS = 1_000
/** The largest `maxBytes` of a page. */
export const MAX_READ_BYTES = 16 * 1024 * 1024
/** `maxBytes` of a page where none is given. */
export const DEFAULT_READ_BYTES = 1024 * 1024

const BOUNDS = {
  limit: { max: MAX_READ_EVENTS, default: 100 },
  maxBytes: { max: MAX_READ_BYTES, default: DEFAULT_READ_BYTES }
}

/** Where to read after: a position, before everything retained, at the end, or what no cursor says. */
type From = EventId | 'earliest' | 'now' | 'unknown'

/** Reads one page, by the resume rule of the streams. Rejects with `TOPICS_BAD_START` and with the log's own error. */
export async function readTopic (log: TopicLog, topic: string, options: ReadOptions): Promise<TopicPage> {
  const { from, limit, maxBytes } = checkReadOptions(topic, options)
  const id = typeof from === 'string' ? ORIGIN : from
  const before = await log.locate(topic, id)
  const { position } = findPosition(from, before.ends, before.exists)
  const entries = await log.read(topic, position, { count: limit, bytes: maxBytes })
  // Read again after the entries: what was trimmed or deleted in between is part of the gap, not lost silently.
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

function checkReadOptions (topic: string, options: ReadOptions): { from: From, limit: number, maxBytes: number } {
  if (typeof options !== 'object' || options === null) {
    throw new errors.TOPICS_BAD_START('options', 'an object { after?, limit?, maxBytes? }', show(options))
  }
  const { after, limit, maxBytes, ...more } = withoutUndefined(options)
  const [unknown] = Object.keys(more)
  if (unknown !== undefined) {
    throw new errors.TOPICS_BAD_START(unknown, 'one of after, limit, maxBytes', 'an unknown option')
  }
  if (after !== undefined && ![after].flat().every(each => typeof each === 'string')) {
    throw new errors.TOPICS_BAD_START('after', 'a cursor', show(after))
  }
  return {
    from: readFrom(topic, joinCursors(after)),
    limit: checkBound('limit', limit),
    maxBytes: checkBound('maxBytes', maxBytes)
  }
}

function checkBound (name: keyof typeof BOUNDS, value: number | undefined): number {
  const { max, default: byDefault } = BOUNDS[name]
  if (value === undefined) return byDefault
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw new errors.TOPICS_BAD_START(name, `an integer from 1 to ${max}`, show(value))
  }
  return value
}

/** A topic that is not in a cursor over several topics begins now, as in a stream. */
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

/** The ends as they were for the page: what was trimmed after the page was read is not missing from it. */
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
