import { deferred } from '../../common/deferred.ts'
import type { Deferred } from '../../common/deferred.ts'
import type { Frame } from '../frame.ts'

interface QueuedFrame { frame: Frame, settle: (isWritten: boolean) => void }

/**
 * Waiters for room in one stream: frames, in order, and callers that only want to be notified. Every promise settles.
 */
export class WriteQueue {
  readonly #frames: QueuedFrame[] = []
  #room: Deferred<boolean> | undefined

  get hasFrames (): boolean { return this.#frames.length > 0 }

  /** Resolves to true when the frame was written, to false if the stream has ended. */
  frame (frame: Frame): Promise<boolean> {
    return new Promise(resolve => { this.#frames.push({ frame, settle: resolve }) })
  }

  /** Resolves to true when there is room, to false if the stream has ended. All callers share one promise. */
  room (): Promise<boolean> {
    this.#room ??= deferred<boolean>()
    return this.#room.promise
  }

  /** Writes waiting frames while there is room; then notifies the other waiters. */
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

  /** The stream has ended. */
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
