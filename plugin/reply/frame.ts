/**
 * The unit that is passed from a source to a response: one or more complete events in the wire format, encoded once and
 * shared by all streams that send them.
 */
export interface Frame {
  /** Not copied: must not be changed afterwards. */
  readonly bytes: Buffer
  /** Number of events in it, for the counters; heartbeats, comments and in-band events do not count. */
  readonly events: number
  /** Length of the bytes, if they are only joined when first used. */
  readonly size?: number
  /** The bytes as one chunk of HTTP/1.1 (RFC 9112, section 7.1), in parts; created by `createFrame()`. */
  readonly chunk?: readonly Buffer[]
  /** The blocks of a gzip body, each created at its first use and kept; undefined for a frame of a single stream. */
  readonly gzip?: GzipForms | undefined
}

/** A frame as a part of gzip bodies: as blocks that are compressed or stored, and its part of their checksums. */
export interface GzipForms {
  deflated?: Frame
  stored?: Frame
  check?: { crc: number, shift: number }
}

/** The part of a stream that the reader of a log needs; `SseStream` implements it. */
export interface FrameSink {
  /** True until the sink is closed. */
  readonly isOpen: boolean
  /** True while a frame would have to wait for room. */
  readonly isFull: boolean
  /** Settles when the sink is closed; never rejects. */
  readonly closed: Promise<unknown>
  /** Calls back when the sink is over, in a microtask of its own: as `closed`, without promises. */
  whenClosed: (callback: () => void) => void
  /** Resolves to true when there is room, to false when the sink is closed. */
  room: () => Promise<boolean>
  /** Writes a frame of any size, unless the sink is full. Returns false if it was not written. */
  write: (frame: Frame) => boolean
  /** Ends the sink after everything written. */
  end: () => void
}

/** Length of a frame's bytes. */
export function sizeOf (frame: Frame): number {
  return frame.size ?? frame.bytes.length
}

/** The memory of a frame together with its gzip forms. */
export function memoryOf (frame: Frame): number {
  const { deflated, stored } = frame.gzip ?? {}
  return sizeOf(frame) + (deflated ? sizeOf(deflated) : 0) + (stored ? sizeOf(stored) : 0)
}

const CRLF = '\r\n'
const NOTHING = Buffer.alloc(0)

/** A frame that is already framed as a chunk; its bytes are joined only for users that need them unframed. */
class ChunkFrame implements Frame {
  readonly chunk: readonly Buffer[]
  readonly size: number
  readonly events: number
  readonly gzip: GzipForms | undefined
  readonly #headBytes: number
  #bytes: Buffer | undefined

  constructor (chunk: readonly Buffer[], headBytes: number, size: number, events: number, isShared: boolean) {
    this.chunk = chunk
    this.gzip = isShared ? {} : undefined
    this.#headBytes = headBytes
    this.size = size
    this.events = events
  }

  get bytes (): Buffer {
    this.#bytes ??= this.#join().subarray(this.#headBytes, this.#headBytes + this.size)
    return this.#bytes
  }

  #join (): Buffer {
    return this.chunk.length === 1 ? this.chunk[0]! : Buffer.concat(this.chunk)
  }
}

/** A part of a frame: bytes, or text with one byte per character. */
export type Part = Buffer | string

/**
 * A frame of consecutive parts. By default all of them are copied, for a frame that streams share. With `copyBytes`,
 * for a frame of a single stream, only parts up to this size are copied; larger ones may be shared with other frames.
 */
export function createFrame (parts: readonly Part[], events: number, copyBytes = Infinity): Frame {
  const size = lengthOf(parts)
  // An empty chunk would end the response.
  if (size === 0) return { bytes: NOTHING, events }
  const head = `${size.toString(16)}${CRLF}`
  return new ChunkFrame(join([head, ...parts, CRLF], copyBytes), head.length, size, events, copyBytes === Infinity)
}

/** Frames of up to this many bytes are cheaper to copy than to write separately. */
const SMALL_BYTES = 4096

/**
 * Joins small neighbours for one stream, which has counted their events; larger frames, which many clients may share,
 * stay as they are.
 */
export function joinSmallFrames (frames: readonly Frame[]): Frame[] {
  const joined: Frame[] = []
  let small: Buffer[] = []
  const join = (): void => {
    if (small.length > 0) joined.push({ bytes: Buffer.concat(small), events: 0 })
    small = []
  }
  for (const frame of frames) {
    if (sizeOf(frame) <= SMALL_BYTES) {
      small.push(frame.bytes)
      continue
    }
    join()
    joined.push(frame)
  }
  join()
  return joined
}

/**
 * A frame of one stream alone: other bytes, framed as one chunk already, of the same length and with as many events.
 */
export function framedAs (frame: Frame, chunk: Buffer): Frame {
  const size = sizeOf(frame)
  return new ChunkFrame([chunk], chunk.length - size - CRLF.length, size, frame.events, false)
}

function join (parts: readonly Part[], copyBytes: number): Buffer[] {
  const joined: Buffer[] = []
  let from = 0
  for (const [index, part] of parts.entries()) {
    if (typeof part === 'string' || part.length <= copyBytes) continue
    joined.push(copy(parts.slice(from, index)), part)
    from = index + 1
  }
  joined.push(copy(from === 0 ? parts : parts.slice(from)))
  return joined
}

function copy (parts: readonly Part[]): Buffer {
  const bytes = Buffer.allocUnsafe(lengthOf(parts))
  let at = 0
  for (const part of parts) at += typeof part === 'string' ? bytes.write(part, at, 'latin1') : part.copy(bytes, at)
  return bytes
}

function lengthOf (parts: readonly Part[]): number {
  let length = 0
  for (const part of parts) length += part.length
  return length
}
