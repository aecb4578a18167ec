import type { Frame } from '../reply/frame.ts'
import { encodeEvent } from '../reply/wire.ts'
import { formatEventId } from './event-id.ts'
import type { LogEntry, NewEvent } from './log/topic-log.ts'
import type { TopicEnd } from './log/lease.ts'
import { IN_BAND, inBandData } from '../common/in-band.ts'
import type { Gap } from '../common/in-band.ts'

/** In-band events of the service are named `stream.*`; publishing such a name is refused. */
export const RESERVED_PREFIX = 'stream.'

/** Everything of an event's frame but its id line; made once and shared by all feeds. */
export function encodeBody ({ event, data, retry }: NewEvent): Buffer {
  return encodeEvent({ event, data, retry })
}

/**
 * How the events of a subscription are written: as they were published, or each in an envelope that says which topic it
 * is of. The name, the id line and `retry` are the same in both.
 */
export type EncodeEntry = (topic: string, entry: LogEntry) => Buffer

export const encodePlain: EncodeEntry = (_topic, entry) => encodeBody(entry)

/** `{"topic","id","event","data"}` as the data; `id` is the event's own, `data` its data as text. */
export const encodeEnvelope: EncodeEntry = (topic, { id, event, data, retry }) => {
  const envelope = JSON.stringify({ topic, id: formatEventId(id), event: event ?? 'message', data })
  return encodeEvent({ event, data: envelope, retry })
}

/** All of an event as one line of JSON, for loops in this process: `Items` reads it again. */
export const encodeItem: EncodeEntry = (topic, { id, event, data, retry }) => {
  return encodeEvent({ data: JSON.stringify({ id: formatEventId(id), topic, event, data, retry }) })
}

/** The id line that stands before a body. Cursors hold no byte that would need checking again. */
export function encodeIdLine (cursor: string): Buffer {
  return Buffer.from(`id: ${cursor}\n`, 'latin1')
}

/** The frame made last: of many clients that come at once, most stand at the same place. */
let lastOpen: { cursor: string | undefined, frame: Frame } | undefined

/**
 * The first frame of a stream: it gives the client its cursor. Without one (a gap follows) the client keeps its own.
 */
export function openFrame (cursor: string | undefined): Frame {
  if (lastOpen === undefined || lastOpen.cursor !== cursor) {
    lastOpen = { cursor, frame: { bytes: encodeEvent({ event: IN_BAND.open, id: cursor, data: '' }), events: 0 } }
  }
  return lastOpen.frame
}

/**
 * Tells what was missed. Only the last of several gaps carries the cursor, so that a drop between them tells them all
 * again.
 */
export function gapFrame (gap: Gap, cursor: string | undefined): Frame {
  return { bytes: encodeEvent({ event: IN_BAND.gap, id: cursor, data: inBandData(IN_BAND.gap, gap) }), events: 0 }
}

/** The body of a gap inside a feed; its id line is added like that of any event. */
export function gapBody (gap: Gap): Buffer {
  return gapFrame(gap, undefined).bytes
}

/** Tells that a closed topic was read to its end. */
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

/** Tells the ends of topics that were closed before a reader joined, all with the same cursor. */
export function endsFrame (ends: ReadonlyArray<readonly [topic: string, end: TopicEnd]>, cursor: string): Frame {
  return {
    bytes: Buffer.concat(ends.flatMap(([topic, end]) => [encodeIdLine(cursor), endBody(topic, end)])),
    events: 0
  }
}

/** Entries in a row as one frame, small enough to be written at once. */
export interface Slice<T> { frame: Frame, last: T }

/**
 * Bytes on the wire of one slice. A client that stops reading costs what was written since it had room, so that is
 * bounded by bytes that go out: a cursor of 1 KB before an event of one byte counts.
 */
const MAX_SLICE_BYTES = 64 * 1024

/** Puts entries into slices, each with the id line before it; one that is larger than a slice is a slice of its own. */
export function * sliceEntries<T extends { body: Buffer }> (
  entries: readonly T[],
  cursorOf: (entry: T) => string
): Generator<Slice<T>> {
  let parts: Buffer[] = []
  let bytes = 0
  for (const [index, entry] of entries.entries()) {
    const idLine = encodeIdLine(cursorOf(entry))
    parts.push(idLine, entry.body)
    bytes += idLine.length + entry.body.length
    if (bytes < MAX_SLICE_BYTES && index < entries.length - 1) continue
    yield { frame: { bytes: Buffer.concat(parts), events: parts.length / 2 }, last: entry }
    parts = []
    bytes = 0
  }
}
