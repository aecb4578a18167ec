import type { NewEvent } from './topic-log.ts'

/** What an event counts for in a page in addition to its texts; `entry.lua` has the same number. */
const EVENT_BYTES = 32

/**
 * The size of an event in the limit of a page: its name and its data in bytes, and a constant for the rest. A page of
 * events without data, whose names count for nothing, would have no limit.
 */
export function entryBytes ({ event = '', data }: NewEvent): number {
  return Buffer.byteLength(event) + Buffer.byteLength(data) + EVENT_BYTES
}
