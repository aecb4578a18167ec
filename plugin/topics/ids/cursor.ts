import { createHash } from 'node:crypto'
import { formatEventId, parseEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'

/**
 * The cursor: sent to the client as `id:` and returned by it as `Last-Event-ID`.
 *
 * - one topic: the plain event id, `1700000000000-42`;
 * - several topics: the position in each, in the order of the sorted names, `<tag><ms>-<n>` joined by commas. `tag` is
 *   6 characters of the topic's hash, so that topics may be added and removed between two connections; `ms` and `n` are
 *   in base 36.
 *
 * Only `[A-Za-z0-9_,-]` occurs, and at most 1 KB: browsers send back other bytes unencoded, and proxies truncate long
 * headers.
 */

export { MAX_STREAM_TOPICS as MAX_CURSOR_TOPICS } from '../../common/limits.ts'

/** A parsed cursor: positions by tag, one plain event id, or neither. */
export type Cursor =
  | { kind: 'plain', id: EventId }
  | { kind: 'vector', positions: ReadonlyMap<string, EventId> }
  | { kind: 'malformed' }

const TAG_LENGTH = 6
const MAX_CURSOR_LENGTH = 1024
/**
 * Looks like a plain id but is not: parsed as a cursor of several topics it would belong to another topic, and skip all
 * events without a gap.
 */
const NO_ID = /^\d+-\d+$/
const PART = /^[A-Za-z0-9_-]{6}[0-9a-z]{1,11}-[0-9a-z]{1,11}$/

/**
 * The tag of a topic: the first 6 characters of its SHA-256 in base64url. It takes microseconds to compute, so callers
 * that need it often should store it.
 */
export function topicTag (topic: string): string {
  return createHash('sha256').update(topic).digest('base64url').slice(0, TAG_LENGTH)
}

/** One position in a cursor of several topics. */
export function formatPosition (tag: string, { ms, n }: EventId): string {
  return `${tag}${ms.toString(36)}-${n.toString(36)}`
}

/** The cursor of a connection, from the tags of its sorted topics and the positions in the same order. */
export function formatCursor (tags: readonly string[], positions: readonly EventId[]): string {
  if (tags.length === 1) return formatEventId(positions[0]!)
  return tags.map((tag, index) => formatPosition(tag, positions[index]!)).join(',')
}

/**
 * The parts of a cursor of several topics before and after the position of one topic, while only that position changes.
 * The topic's own tag is the end of `before`.
 */
export interface Surroundings { before: string, after: string }

/** The parts before and after the position of the topic with this index. */
export function surroundingsOf (tags: readonly string[], positions: readonly EventId[], at: number): Surroundings {
  const parts = tags.map((tag, index) => index === at ? tag : formatPosition(tag, positions[index]!))
  return { before: parts.slice(0, at + 1).join(','), after: ['', ...parts.slice(at + 1)].join(',') }
}

/**
 * Parses the cursor that a client sent. If there are several, joined by ", " (two headers, or a header set by hand in
 * addition to the one that a client library adds), the last valid one counts, because it is the newest. Never throws:
 * if there is none, the result is `malformed`.
 */
export function readCursor (text: string): Cursor {
  for (const part of text.split(', ').reverse()) {
    const cursor = parseCursor(part)
    if (cursor.kind !== 'malformed') return cursor
  }
  return { kind: 'malformed' }
}

/** Parses a single cursor. Never throws: anything else is `malformed`. */
export function parseCursor (text: string): Cursor {
  const id = parseEventId(text)
  if (id) return { kind: 'plain', id }
  if (text.length > MAX_CURSOR_LENGTH || NO_ID.test(text)) return { kind: 'malformed' }
  const positions = new Map<string, EventId>()
  for (const part of text.split(',')) {
    const position = parsePosition(part)
    if (!position || positions.has(part.slice(0, TAG_LENGTH))) return { kind: 'malformed' }
    positions.set(part.slice(0, TAG_LENGTH), position)
  }
  return { kind: 'vector', positions }
}

function parsePosition (part: string): EventId | undefined {
  if (!PART.test(part)) return undefined
  const [ms, n] = part.slice(TAG_LENGTH).split('-').map(digits => parseInt(digits, 36))
  const position = { ms: ms!, n: n! }
  // The same number written differently would be a second cursor for the same position.
  const isCanonical =
    Number.isSafeInteger(ms) &&
    Number.isSafeInteger(n) &&
    part.slice(TAG_LENGTH) === `${ms!.toString(36)}-${n!.toString(36)}`
  return isCanonical ? position : undefined
}
