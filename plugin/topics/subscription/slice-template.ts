import { framedAs } from '../../reply/frame.ts'
import type { Surroundings } from '../ids/cursor.ts'
import { idLineOf } from '../feed/frames.ts'
import type { Slice } from '../feed/frames.ts'

const ID_FIELD_BYTES = idLineOf('').length - 1

/**
 * One slice for many readers whose cursors differ in the positions of other topics but not in their length: its bytes
 * are copied at once, and the differing parts are overwritten.
 */
export class SliceTemplate<T extends { body: Buffer }> {
  readonly #slice: Slice<T>
  readonly #around: Surroundings
  readonly #befores: number[] = []
  readonly #afters: number[] = []

  /** `entries` are those of the slice, and `around` are the surroundings in its id lines. */
  constructor (slice: Slice<T>, entries: readonly T[], around: Surroundings, cursorOf: (entry: T) => string) {
    this.#slice = slice
    this.#around = around
    // After the line with the size of the chunk.
    let at = slice.frame.chunk![0]!.indexOf('\n') + 1
    for (const entry of entries) {
      const { length } = idLineOf(cursorOf(entry))
      this.#befores.push(at + ID_FIELD_BYTES)
      this.#afters.push(at + length - 1 - around.after.length)
      at += length + entry.body.length
    }
  }

  /** The slice with different surroundings of the same lengths. */
  fill ({ before, after }: Surroundings): Slice<T> {
    const { frame, last } = this.#slice
    const bytes = Buffer.allocUnsafe(frame.chunk![0]!.length)
    bytes.set(frame.chunk![0]!)
    if (before !== this.#around.before) writeAt(bytes, before, this.#befores)
    if (after !== this.#around.after) writeAt(bytes, after, this.#afters)
    return { frame: framedAs(frame, bytes), last }
  }
}

/** Writes a short text at many positions. Calling a method of `Buffer` for each of them would take longer. */
function writeAt (bytes: Buffer, text: string, places: readonly number[]): void {
  const written = Buffer.from(text, 'latin1')
  for (const place of places) {
    for (let at = 0; at < written.length; at++) bytes[place + at] = written[at]!
  }
}
