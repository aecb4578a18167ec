import { guardCallback } from '../../common/callback.ts'
import type { CallbackLogger } from '../../common/callback.ts'
import { StreamIndex } from './stream-index.ts'
import type { SseStream } from './sse-stream.ts'
import type { CloseReason } from './stream-init.ts'

/**
 * Called once for each stream that has ended, with the arguments of the option `onClose`, whether or not the stream had
 * opened, after it was removed from the index of its owner.
 */
export type CloseListener = (reason: CloseReason, stream: SseStream) => void

/**
 * `app.sse.streams`: the streams of one app, for metrics, limits, lists and revocation. Iteration yields the open ones,
 * from their first byte to their end, oldest first; streams that end or open during the iteration may be omitted.
 */
export interface OpenStreams extends Iterable<SseStream> {
  /** Number of open streams. */
  readonly size: number
  /**
   * Number of streams that have ever opened. A response without events that only tells its client when to retry does
   * not count.
   */
  readonly opened: number
  /** Streams that have opened and ended, by reason; reasons that did not occur are missing. */
  readonly closed: ReadonlyMap<CloseReason, number>
  /**
   * Events and bytes written to all streams that have ever opened, heartbeats included. Computed from the open streams
   * on each call.
   */
  readonly written: { events: number, bytes: number }
  /**
   * All streams of a subject that have not ended, including those before their first byte, oldest first. Empty if
   * requests are not authenticated. Do not keep the set, which may or may not change later.
   */
  ofSubject (subject: string): ReadonlySet<SseStream>
  /** The same, for the streams of one session of a one-time token. */
  ofSession (session: string): ReadonlySet<SseStream>
  /**
   * Calls a listener whenever a stream has ended; its exception is logged. Returns a function that removes the
   * listener.
   */
  onClose (listener: CloseListener): () => void
}

/** Watches the registry, as the drain does. */
export interface RegistryWatcher {
  onAdd: (stream: SseStream) => void
  /** Called when the last stream was flushed. */
  onEmpty: () => void
}

/**
 * The list of all streams of an app, with the state of each:
 *
 * ```
 *   add ──▶ in transit ──attach──▶ open ──over──▶ in transit ──remove──▶ (gone)
 *               └─ close before the first byte: removed, and attached again if there is a last frame to send
 * ```
 */
export class StreamRegistry implements OpenStreams {
  readonly #open = new Set<SseStream>()
  /** Before their first byte, or flushing their last one. */
  readonly #inTransit = new Set<SseStream>()
  readonly #bySubject = new StreamIndex()
  readonly #bySession = new StreamIndex()
  readonly #past = { events: 0, bytes: 0 }
  readonly #closed = new Map<CloseReason, number>()
  readonly #listeners = new Set<{ call: CloseListener }>()
  #opened = 0
  #watcher: RegistryWatcher | undefined

  get size (): number { return this.#open.size }
  get opened (): number { return this.#opened }
  get closed (): ReadonlyMap<CloseReason, number> { return this.#closed }

  get written (): { events: number, bytes: number } {
    const sum = { ...this.#past }
    for (const stream of this.#open) addWritten(sum, stream)
    return sum
  }

  ofSubject (subject: string): ReadonlySet<SseStream> { return this.#bySubject.of(subject) }
  ofSession (session: string): ReadonlySet<SseStream> { return this.#bySession.of(session) }

  onClose (listener: CloseListener): () => void {
    const added = { call: listener }
    this.#listeners.add(added)
    return () => { this.#listeners.delete(added) }
  }

  [Symbol.iterator] (): Iterator<SseStream> { return this.#open.keys() }

  /** All streams whose response is not complete. */
  get unfinished (): SseStream[] { return [...this.#open, ...this.#inTransit] }

  watch (watcher: RegistryWatcher): void { this.#watcher = watcher }

  /** A stream was created. */
  add (stream: SseStream): void {
    this.#inTransit.add(stream)
    const { owner } = stream
    if (owner !== undefined) this.#bySubject.add(owner.subject, stream)
    if (owner?.session !== undefined) this.#bySession.add(owner.session, stream)
    this.#watcher?.onAdd(stream)
  }

  /** Its first bytes are about to be sent, even if they are also the last. */
  attach (stream: SseStream): void {
    if (!stream.isOpen && stream.written.events === 0) {
      this.#inTransit.add(stream)
      return
    }
    this.#inTransit.delete(stream)
    this.#open.add(stream)
    this.#opened++
  }

  /** It has ended, whether or not it was attached; called once. */
  close (stream: SseStream, reason: CloseReason, log: CallbackLogger): void {
    const { owner } = stream
    if (owner !== undefined) this.#bySubject.delete(owner.subject, stream)
    if (owner?.session !== undefined) this.#bySession.delete(owner.session, stream)
    for (const { call } of this.#listeners) {
      guardCallback(log, 'close listener of app.sse.streams', () => call(reason, stream))
    }
  }

  /** It was attached and has ended; it may still need to be flushed. */
  over (stream: SseStream, reason: CloseReason): void {
    if (!this.#open.delete(stream)) return
    this.#inTransit.add(stream)
    addWritten(this.#past, stream)
    this.#closed.set(reason, (this.#closed.get(reason) ?? 0) + 1)
  }

  /** Its response was flushed, its connection closed, or nothing will ever be sent. */
  remove (stream: SseStream): void {
    this.#inTransit.delete(stream)
    if (this.#inTransit.size + this.#open.size === 0) this.#watcher?.onEmpty()
  }
}

function addWritten (sum: { events: number, bytes: number }, { written }: SseStream): void {
  sum.events += written.events
  sum.bytes += written.bytes
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The app's data of `fastify-resumable-sse`. */
    sse: { readonly streams: OpenStreams }
  }
}
