import { createFrame } from '../../reply/frame.ts'
import type { Frame, Part } from '../../reply/frame.ts'
import { encodeEvent } from '../../reply/wire.ts'
import { formatEventId } from '../ids/event-id.ts'
import type { LogEntry, NewEvent } from '../log/topic-log.ts'
import type { TopicEnd } from '../log/lease.ts'
import { IN_BAND, inBandData } from '../../common/in-band.ts'
import type { Gap } from '../../common/in-band.ts'

/** In-band events are named `stream.*`; publishing such a name is an error. */
export const RESERVED_PREFIX = 'stream.'

/** The frame of an event without its id line; created once and shared by all feeds. */
export function encodeBody ({ event, data, retry }: NewEvent): Buffer {
  return encodeEvent({ event, data, retry })
}

/** How the events of a subscription are written. The name, the id line and `retry` of an event are always the same. */
export interface EventFormat {
  /** Readers with formats of the same name share frames. */
  readonly name: 'plain' | 'envelope' | 'bare' | 'item'
  /** False if in-band events are not written. */
  readonly hasControl: boolean
  /** The frame of an event without its id line. */
  readonly encode: (topic: string, entry: LogEntry) => Buffer
}

/** Events as they were published. */
export const PLAIN: EventFormat = { name: 'plain', hasControl: true, encode: (_topic, entry) => encodeBody(entry) }

/** The same, for streams without gaps and ends. */
export const BARE: EventFormat = { ...PLAIN, name: 'bare', hasControl: false }

/** The data is `{"topic","id","event","data"}`; `id` is the event's own, `data` its data as text. */
export const ENVELOPE: EventFormat = {
  name: 'envelope',
  hasControl: true,
  encode (topic, { id, event, data, retry }) {
    const envelope = JSON.stringify({ topic, id: formatEventId(id), event: event ?? 'message', data })
    return encodeEvent({ event, data: envelope, retry })
  }
}

/** All fields of an event as one line of JSON, for loops in this process; `Items` parses it. */
export const ITEM: EventFormat = {
  name: 'item',
  hasControl: true,
  encode: (topic, { id, event, data, retry }) =>
    encodeEvent({ data: JSON.stringify({ id: formatEventId(id), topic, event, data, retry }) })
}

/** The id line before a body. Cursors contain no characters that would have to be validated again. */
export function idLineOf (cursor: string): string {
  return `id: ${cursor}\n`
}

/** The last frame: when many clients connect at once, most of them are at the same place. */
let lastOpen: { cursor: string | undefined, frame: Frame } | undefined

/**
 * The first frame of a stream, which sends the client its cursor. Without a cursor (a gap follows) the client keeps its
 * own.
 */
export function openFrame (cursor: string | undefined): Frame {
  if (lastOpen === undefined || lastOpen.cursor !== cursor) {
    lastOpen = { cursor, frame: { bytes: encodeEvent({ event: IN_BAND.open, id: cursor, data: '' }), events: 0 } }
  }
  return lastOpen.frame
}

/**
 * Reports what was missed. Only the last of several gaps carries the cursor, so that a client that is disconnected
 * between them receives all of them again.
 */
export function gapFrame (gap: Gap, cursor: string | undefined): Frame {
  return { bytes: encodeEvent({ event: IN_BAND.gap, id: cursor, data: inBandData(IN_BAND.gap, gap) }), events: 0 }
}

/** The body of a gap inside a feed; its id line is added as for any event. */
export function gapBody (gap: Gap): Buffer {
  return gapFrame(gap, undefined).bytes
}

/** Reports that a closed topic was read to its end. */
export function endBody (topic: string, { reason, message }: TopicEnd): Buffer {
  return encodeEvent({ event: IN_BAND.end, data: inBandData(IN_BAND.end, { topic, reason, message }) })
}

/** Several frames as one. */
export function joinFrames (frames: readonly Frame[]): Frame {
  return {
    bytes: Buffer.concat(frames.map(({ bytes }) => bytes)),
    events: frames.reduce((sum, { events }) => sum + events, 0)
  }
}

/** Reports the ends of topics that were closed before a reader joined, all with the same cursor. */
export function endsFrame (ends: ReadonlyArray<readonly [topic: string, end: TopicEnd]>, cursor: string): Frame {
  return createFrame(ends.flatMap(([topic, end]) => [idLineOf(cursor), endBody(topic, end)]), 0)
}

/** Consecutive entries as one frame, small enough to be written at once. */
export interface Slice<T> { frame: Frame, last: T }

/**
 * Maximum bytes of one slice on the wire. A client that stops reading costs what was written since it had room, so the
 * limit applies to the bytes that are sent: a cursor of 1 KB before an event of one byte counts.
 */
const MAX_SLICE_BYTES = 64 * 1024

/**
 * Groups entries into slices, each entry preceded by its id line; an entry that is larger than a slice becomes a slice
 * of its own.
 */
export function * sliceEntries<T extends { body: Buffer }> (
  entries: readonly T[],
  cursorOf: (entry: T) => string
): Generator<Slice<T>> {
  let parts: Part[] = []
  let bytes = 0
  for (const [index, entry] of entries.entries()) {
    const idLine = idLineOf(cursorOf(entry))
    parts.push(idLine, entry.body)
    bytes += idLine.length + entry.body.length
    if (bytes < MAX_SLICE_BYTES && index < entries.length - 1) continue
    yield { frame: createFrame(parts, parts.length / 2), last: entry }
    parts = []
    bytes = 0
  }
}
