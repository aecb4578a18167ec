import { deferred } from '../common/deferred.ts'
import type { Deferred } from '../common/deferred.ts'
import type { Frame } from './frame.ts'

interface QueuedFrame { frame: Frame, settle: (isWritten: boolean) => void }

/** Who waits for room in one stream: frames, in their order, and those who only want to know. Every promise settles. */
export class WriteQueue {
  readonly #frames: QueuedFrame[] = []
  #room: Deferred<boolean> | undefined

  get hasFrames (): boolean { return this.#frames.length > 0 }

  /** Settles true when the frame was written, false when the stream is over. */
  frame (frame: Frame): Promise<boolean> {
    return new Promise(resolve => { this.#frames.push({ frame, settle: resolve }) })
  }

  /** Settles true when there is room, false when the stream is over. All who wait share one promise. */
  room (): Promise<boolean> {
    this.#room ??= deferred<boolean>()
    return this.#room.promise
  }

  /** Writes what waits as far as there is room; then tells those who wait for room. */
  admit (isFull: () => boolean, write: (frame: Frame) => void): void {
    let admitted = 0
    for (const { frame, settle } of this.#frames) {
      if (isFull()) break
      write(frame)
      settle(true)
      admitted++
    }
    this.#frames.splice(0, admitted)
    if (!isFull()) this.#tellRoom(true)
  }

  /** The stream is over. */
  giveUp (): void {
    for (const { settle } of this.#frames.splice(0)) settle(false)
    this.#tellRoom(false)
  }

  #tellRoom (isThere: boolean): void {
    const room = this.#room
    this.#room = undefined
    room?.settle(isThere)
  }
}
