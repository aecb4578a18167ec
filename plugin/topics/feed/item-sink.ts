import { deferred } from '../../common/deferred.ts'
import type { Deferred } from '../../common/deferred.ts'
import type { Frame, FrameSink } from '../../reply/frame.ts'

/**
 * Bytes of frames at which the sink counts as full. As in a stream, the frame that exceeds the mark is still accepted.
 */
const HIGH_WATER_MARK_BYTES = 64 * 1024

/** The sink of a reader for a loop in this process. A limited number of bytes waits here until the loop takes it. */
export class ItemSink implements FrameSink {
  readonly #frames: Buffer[] = []
  #bytes = 0
  #isOpen = true
  readonly #closed = deferred()
  #room: Deferred<boolean> | undefined
  /** Settled when a frame arrives or the end is reached. */
  #arrival: Deferred<void> | undefined

  get isOpen (): boolean { return this.#isOpen }
  get isFull (): boolean { return this.#bytes >= HIGH_WATER_MARK_BYTES }
  get closed (): Promise<void> { return this.#closed.promise }

  whenClosed (callback: () => void): void { void this.closed.then(callback) }

  room (): Promise<boolean> {
    if (!this.#isOpen) return Promise.resolve(false)
    if (!this.isFull) return Promise.resolve(true)
    this.#room ??= deferred()
    return this.#room.promise
  }

  write ({ bytes }: Frame): boolean {
    if (!this.#isOpen) return false
    this.#frames.push(bytes)
    this.#bytes += bytes.length
    this.#arrived()
    return true
  }

  /** Nothing follows; waiting frames can still be taken. */
  end (): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#closed.settle()
    this.#tellRoom(false)
    this.#arrived()
  }

  /** Nothing follows, and waiting frames are dropped. */
  close (): void {
    this.end()
    this.#frames.length = 0
    this.#bytes = 0
  }

  /** The frame that has waited longest; undefined if there is none. */
  take (): Buffer | undefined {
    const bytes = this.#frames.shift()
    this.#bytes -= bytes?.length ?? 0
    if (!this.isFull) this.#tellRoom(true)
    return bytes
  }

  /** Settles when there is a frame to take, or nothing follows. */
  arrival (): Promise<void> {
    if (this.#frames.length > 0 || !this.#isOpen) return Promise.resolve()
    this.#arrival ??= deferred()
    return this.#arrival.promise
  }

  #arrived (): void {
    this.#arrival?.settle()
    this.#arrival = undefined
  }

  #tellRoom (isThere: boolean): void {
    this.#room?.settle(isThere)
    this.#room = undefined
  }
}
