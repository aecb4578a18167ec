import { createFrame, sizeOf } from '../frame.ts'
import type { Frame } from '../frame.ts'
import { crcAfter } from './crc.ts'
import { gzipBlockOf } from './gzip-block.ts'

/** No name, no time, an unknown system (RFC 1952, section 2.3). */
const HEADER = Buffer.from([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF])
/** An empty last block. */
const LAST_BLOCK = Buffer.from([3, 0])

/**
 * The body of one response as a gzip stream: a header, the blocks of one frame after another, most of them shared with
 * other clients, and a trailer with the checksum and the length of everything that this client received.
 */
export class GzipBody {
  readonly #minBytes: number
  #crc = 0
  #size = 0
  #hasBegun = false
  /** The most recent frame, so that asking for its size does not compress it twice. */
  #last: { frame: Frame, block: Frame } | undefined

  constructor (minBytes: number) {
    this.#minBytes = minBytes
  }

  /** The size that a frame will have, without a header. */
  sizeOf (frame: Frame): number {
    return sizeOf(this.#blockOf(frame))
  }

  /** Returns the next frame as it is sent. */
  next (frame: Frame): Frame {
    if (sizeOf(frame) === 0) return frame
    const block = this.#blockOf(frame)
    this.#last = undefined
    this.#crc = crcAfter(this.#crc, frame)
    this.#size = (this.#size + sizeOf(frame)) >>> 0
    return this.#hasBegun ? block : this.#begin(block)
  }

  /** The trailer after the last frame. */
  end (): Frame {
    const trailer = Buffer.alloc(8)
    trailer.writeUInt32LE(this.#crc, 0)
    trailer.writeUInt32LE(this.#size, 4)
    return createFrame([LAST_BLOCK, trailer], 0)
  }

  #begin ({ bytes, events }: Frame): Frame {
    this.#hasBegun = true
    return createFrame([HEADER, bytes], events)
  }

  #blockOf (frame: Frame): Frame {
    if (this.#last?.frame === frame) return this.#last.block
    const block = gzipBlockOf(frame, this.#minBytes)
    this.#last = { frame, block }
    return block
  }
}
