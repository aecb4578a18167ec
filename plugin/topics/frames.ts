import { encodeEvent } from '../reply/wire.ts'
import type { NewEvent } from './log/topic-log.ts'
import type { Gap } from './resume.ts'

/** In-band events of the service are named `stream.*`; publishing such a name is refused. */
export const RESERVED_PREFIX = 'stream.'

/** Everything of an event's frame but its id line; made once and shared by all feeds. */
export function encodeBody ({ event, data, retry }: NewEvent): Buffer {
  return encodeEvent({ event, data, retry })
}

/** The id line that stands before a body. Cursors hold no byte that would need checking again. */
export function encodeIdLine (cursor: string): Buffer {
  return Buffer.from(`id: ${cursor}\n`, 'latin1')
}

/** The frame made last: of many clients that come at once, most stand at the same place. */
let lastOpen: { cursor: string | undefined, frame: Buffer } | undefined

/** The first frame of a stream: it gives the client its cursor. Without one (a gap follows) the client keeps its own. */
export function openFrame (cursor: string | undefined): Buffer {
  if (lastOpen === undefined || lastOpen.cursor !== cursor) lastOpen = { cursor, frame: encodeEvent({ event: 'stream.open', id: cursor, data: '' }) }
  return lastOpen.frame
}

/** Tells what was missed. Only the last of several gaps carries the cursor, so that a drop between them tells them all again. */
export function gapFrame (gap: Gap, cursor: string | undefined): Buffer {
  return encodeEvent({ event: 'stream.gap', id: cursor, data: JSON.stringify(gap) })
}

/** The body of a gap inside a feed; its id line is added like that of any event. */
export function gapBody (gap: Gap): Buffer {
  return gapFrame(gap, undefined)
}

/** Tells that a closed topic was read to its end. */
export function endBody (topic: string): Buffer {
  return encodeEvent({ event: 'stream.end', data: JSON.stringify({ topic }) })
}
