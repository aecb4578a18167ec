import type { Frame } from '../frame.ts'

/**
 * Passes the bytes of one open response to Node, and observes whether they are sent. There is one class for each
 * version of HTTP. They are created with a callback `onLeft`, which is called when bytes were sent; it must check how
 * many are still pending.
 */
export interface ResponseWrites {
  /** Bytes pending in this process. */
  readonly waitingBytes: number
  /**
   * Writes a frame. Returns false if Node asks for a pause; `onLeft` is called after a pause, and after each write with
   * `isAwaited`.
   */
  write (frame: Frame, isAwaited: boolean): boolean
  /**
   * A value that changes exactly when the client has received bytes: writing does not change it. Undefined if there is
   * no real socket. Called at most once per tick of the heartbeat timer.
   */
  progress (): string | undefined
  /** Calls back as soon as all bytes were passed to Node, so that the end of the response follows them. */
  end (endResponse: () => void): void
  /** Calls back when bytes that were written would be sent before the connection is cut. */
  flush (done: () => void): void
}
