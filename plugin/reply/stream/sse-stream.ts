import type { AnyEvents, SseEvent, SseEvents } from '../events.ts'
import type { Frame, FrameSink } from '../frame.ts'
import type { CloseReason, StreamOwner } from './stream-init.ts'

/** One response of `reply.sse()`: what a handler, a source or a listener can see of it and do with it. */
export interface SseStream<E extends SseEvents = AnyEvents> extends FrameSink {
  /** The client's `Last-Event-ID`, as UTF-8; undefined if it sent none or an empty one. */
  readonly lastEventId: string | undefined
  /** True until the stream has ended. */
  readonly isOpen: boolean
  /**
   * True while `send()` would wait: even if a few bytes have been sent since, when earlier `send()` calls wait for the
   * rest.
   */
  readonly isFull: boolean
  /** Bytes pending for this client in this process, including those written in the current tick of the event loop. */
  readonly bufferedBytes: number
  /** Maximum bytes pending for this client, see the option of the same name. */
  readonly maxBufferedBytes: number
  /** Events and bytes written so far, compressed where the response is; heartbeats and comments count as bytes only. */
  readonly written: { events: number, bytes: number }
  /** The owner of the stream; undefined if its request was not authenticated. */
  readonly owner: StreamOwner | undefined
  /** Time since the first byte was sent, in ms; 0 before. */
  readonly ageMs: number
  /** Why the stream has ended; undefined while it is open. */
  readonly closeReason: CloseReason | undefined
  /** Topics that were checked for this stream: all that it carries, if its source knows them. */
  readonly topics: readonly string[]
  /**
   * Must be called by a source that knows its topics, before it reads them: throws 403 `FST_SSE_FORBIDDEN` if the
   * request has a grant that does not cover one of them. `app.topics.subscribe()` calls it; `reply.sse()` calls it for
   * a source that has `topics`.
   */
  checkTopics (topics: string | readonly string[]): void
  /**
   * `none` for a client of another protocol, which does not know in-band events (`stream.*`): it receives none, and the
   * stream ends cleanly only when its source has ended. If it ends for any other reason, the response is aborted after
   * everything written, so that the client does not mistake a part for the whole. Default `in-band`.
   */
  readonly control: 'in-band' | 'none'
  /** Sets `control` to `none`; to be called by a source, before the first byte. */
  omitControl (): void
  /** Aborts when the stream ends; its `reason` is an Error whose `cause` is the close reason. */
  readonly signal: AbortSignal
  /** Resolves to the reason when the stream ends; never rejects. Bytes already written may still be on their way. */
  readonly closed: Promise<CloseReason>
  /** Calls back when the stream is over, in a microtask of its own: as `closed`, without promises. */
  whenClosed (callback: () => void): void
  /**
   * Writes one event, waiting for room first. Events sent one after another keep their order. Resolves to true when the
   * event was written, to false if the stream has ended; a client that disconnects never makes it reject. Rejects only
   * with `FST_SSE_BAD_EVENT`, before anything is written.
   */
  send (event: SseEvent<E>): Promise<boolean>
  /** Like `send()`, for one or more complete events that are already encoded. */
  sendFrame (frame: Frame): Promise<boolean>
  /**
   * Writes one event now, ahead of any `send()` that is still waiting. Returns false if it was not written: the stream
   * has ended, or the client is too slow (see `slowClient`). Throws `FST_SSE_BAD_EVENT`, before anything is written.
   */
  push (event: SseEvent<E>): boolean
  /**
   * Like `push()`, for one or more complete events that are already encoded. Their bytes are not copied: do not change
   * them afterwards.
   */
  write (frame: Frame): boolean
  /** Writes a comment, which clients ignore. Returns false if it was not written. */
  comment (text: string): boolean
  /** Resolves to true when there is room, to false if the stream has ended. All callers share one promise. */
  room (): Promise<boolean>
  /** Ends the stream after everything written, and after `last` if given. Does nothing if it has already ended. */
  end (last?: SseEvent<E>): void
  /**
   * Ends the stream with a reason, after everything written and after `last` if given; `send()` calls that are still
   * waiting resolve to false. Bytes that the client cannot receive within two heartbeats are dropped with the
   * connection.
   */
  close (reason: CloseReason, last?: SseEvent<E>): void
  /** Ends the stream after everything written, in such a way that the client treats the response as incomplete. */
  breakOff (): void
  /** Ends the stream after everything written and after this frame, which can no longer wait. */
  endWith (last: Frame): void
  /** Ends the stream and asks the client to reconnect after `retryMs`. */
  closeWithRetry (reason: CloseReason, retryMs: number): void
  /** Closes the connection and drops unsent bytes, even if the stream has ended but is not flushed yet. */
  destroy (reason: CloseReason): void
}
