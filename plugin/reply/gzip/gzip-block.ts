import { constants, deflateRawSync } from 'node:zlib'
import { createFrame, sizeOf } from '../frame.ts'
import type { Frame } from '../frame.ts'

/**
 * A frame inside a gzip body (RFC 1951): whole bytes, without references to earlier data, so that the blocks of a frame
 * are the same for all clients.
 *
 * ```
 *   compressed │ blocks of zlib │ empty block │       stored │ header, bytes │ … │ empty block │
 * ```
 *
 * A flush of zlib ends with an empty block. Some decoders, such as Go's, only then pass on what they have decoded.
 */

/**
 * zlib takes about 20 µs for the first byte and then 4 to 15 ns for each. Levels above 3 take at least twice as long to
 * save a tenth of the bytes.
 */
const DEFLATE = { level: 3, finishFlush: constants.Z_SYNC_FLUSH }
/**
 * Compressing 64 KB blocks the event loop for up to 1 ms. Frames that are larger than a full batch plus one event of
 * 256 KiB are stored.
 */
const MAX_DEFLATE_BYTES = 320 * 1024
/** A shared frame is compressed only once, so this already pays off at a fraction of the size. */
const SHARED_FRACTION = 8

const MAX_STORED_BYTES = 0xFFFF
const EMPTY_BLOCK = Buffer.from([0, 0, 0, 0xFF, 0xFF])
/** Stored bytes, up to this many, are cheaper to copy than to write separately. */
const COPY_BYTES = 4096

/** Converts a frame to blocks, once for a shared frame. `minBytes` as in `SseOptions.gzipMinBytes`. */
export function gzipBlockOf (frame: Frame, minBytes: number): Frame {
  const { gzip } = frame
  const size = sizeOf(frame)
  const isDeflated = size >= (gzip ? minBytes / SHARED_FRACTION : minBytes) && size <= MAX_DEFLATE_BYTES
  if (gzip === undefined) return makeBlock(frame, isDeflated)
  const kind = isDeflated ? 'deflated' : 'stored'
  gzip[kind] ??= makeBlock(frame, isDeflated)
  return gzip[kind]
}

function makeBlock ({ bytes, events }: Frame, isDeflated: boolean): Frame {
  return (isDeflated && deflate(bytes, events)) || store(bytes, events)
}

/** Undefined if compression does not make the bytes fewer. */
function deflate (bytes: Buffer, events: number): Frame | undefined {
  const deflated = deflateRawSync(bytes, DEFLATE)
  return deflated.length < bytes.length ? createFrame([deflated], events) : undefined
}

function store (bytes: Buffer, events: number): Frame {
  const parts: Buffer[] = []
  for (let from = 0; from < bytes.length; from += MAX_STORED_BYTES) {
    const part = bytes.subarray(from, from + MAX_STORED_BYTES)
    parts.push(storedHeader(part.length), part)
  }
  return createFrame([...parts, EMPTY_BLOCK], events, COPY_BYTES)
}

/** The header of a stored block (type 00) that is not the last: its length, and the complement of the length. */
function storedHeader (length: number): Buffer {
  const header = Buffer.alloc(5)
  header.writeUInt16LE(length, 1)
  header.writeUInt16LE(length ^ MAX_STORED_BYTES, 3)
  return header
}
