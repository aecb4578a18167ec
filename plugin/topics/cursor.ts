import { createHash } from 'node:crypto'
import { formatEventId, parseEventId } from './event-id.ts'
import type { EventId } from './event-id.ts'

/**
 * The cursor: what travels as `id:` to the client and comes back as `Last-Event-ID`.
 *
 * - one topic: the plain event id, `1700000000000-42`;
 * - many topics: the position of each, in the order of the sorted names, `<tag><ms>-<n>` joined by commas. `tag` is
 *   6 characters of the topic's hash, so that topics may be added and dropped between two connects; `ms` and `n` are
 *   in base 36.
 *
 * Only `[A-Za-z0-9_,-]` occurs, and at most 1 KB: browsers echo other bytes raw, and proxies cut long headers.
 */

/** Topics on one connection: so many positions fit into 1 KB with 7 digits of `n` each. */
export const MAX_CURSOR_TOPICS = 44

/** What a client's cursor says: positions by tag, or one plain event id, or nothing readable. */
export type Cursor =
  | { kind: 'plain', id: EventId }
  | { kind: 'vector', positions: ReadonlyMap<string, EventId> }
  | { kind: 'malformed' }

const TAG_LENGTH = 6
const MAX_CURSOR_LENGTH = 1024
const PART = /^[A-Za-z0-9_-]{6}[0-9a-z]{1,11}-[0-9a-z]{1,11}$/

/**
 * The tag of a topic: 6 characters of base64url, from its SHA-256. It takes microseconds: whoever needs it often keeps
 * it.
 */
export function topicTag (topic: string): string {
  return createHash('sha256').update(topic).digest('base64url').slice(0, TAG_LENGTH)
}

/** One position of a vector cursor. */
export function formatPosition (tag: string, { ms, n }: EventId): string {
  return `${tag}${ms.toString(36)}-${n.toString(36)}`
}

/** The cursor of a connection, from the tags of its sorted topics and their positions in the same order. */
export function formatCursor (tags: readonly string[], positions: readonly EventId[]): string {
  if (tags.length === 1) return formatEventId(positions[0]!)
  return tags.map((tag, index) => formatPosition(tag, positions[index]!)).join(',')
}

/**
 * Reads what a client sent as its cursor. When that is several, joined by ", " (two headers, or a header that was set
 * by hand beside the one that a client library adds), the last one that is a cursor counts: it is the newest. Never
 * throws: without any it is `malformed`.
 */
export function readCursor (text: string): Cursor {
  for (const part of text.split(', ').reverse()) {
    const cursor = parseCursor(part)
    if (cursor.kind !== 'malformed') return cursor
  }
  return { kind: 'malformed' }
}

/** Reads one cursor. Never throws: what is not a cursor is `malformed`. */
export function parseCursor (text: string): Cursor {
  const id = parseEventId(text)
  if (id) return { kind: 'plain', id }
  if (text.length > MAX_CURSOR_LENGTH) return { kind: 'malformed' }
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
  // The same number written differently would be a second cursor for one place.
  const isCanonical =
    Number.isSafeInteger(ms) &&
    Number.isSafeInteger(n) &&
    part.slice(TAG_LENGTH) === `${ms!.toString(36)}-${n!.toString(36)}`
  return isCanonical ? position : undefined
}
