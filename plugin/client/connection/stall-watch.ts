/** How long a stream may be silent while the interval of its heartbeats is unknown. */
const FIRST_WINDOW_MS = 60_000
/** Above the usual heartbeat intervals, for a server whose heartbeats have only been seen between its events. */
const MIN_WINDOW_MS = 20_000
const MAX_WINDOW_MS = 600_000
/** The window in heartbeat intervals, so that one or two heartbeats may be late or lost. */
const HEARTBEATS = 2.5

/**
 * Detects a stream that is frozen or half open. The window is learned from the server's heartbeats: it depends on the
 * longest silence before one of them. Each stall doubles it until the next heartbeat, in case the server has become
 * slower.
 */
export class StallWatch {
  readonly #onStall: () => void
  readonly #fixedMs: number | undefined
  /** The longest silence before a heartbeat; 0 before the first one. */
  #heartbeatMs = 0
  #factor = 1
  #activeAt = 0
  /** The silence before the latest chunk. */
  #quietMs = 0
  /** The first comment of a connection is its preamble, which is unrelated to heartbeats. */
  #hasPreamble = false
  #timer: ReturnType<typeof setTimeout> | undefined

  /** `fixedMs` replaces the learned window; 0 disables the watch. */
  constructor (onStall: () => void, fixedMs?: number) {
    this.#onStall = onStall
    this.#fixedMs = fixedMs
  }

  /** The currently accepted silence, in milliseconds. */
  get windowMs (): number {
    if (this.#fixedMs !== undefined) return this.#fixedMs
    const ms = this.#heartbeatMs === 0 ? FIRST_WINDOW_MS : Math.max(this.#heartbeatMs * HEARTBEATS, MIN_WINDOW_MS)
    return Math.min(ms * this.#factor, MAX_WINDOW_MS)
  }

  /** True if the connection has been silent for the whole window; for a page whose timers were suspended. */
  get isStalled (): boolean {
    return this.#timer !== undefined && this.silenceMs >= this.windowMs
  }

  /** The time since the last bytes. */
  get silenceMs (): number {
    return performance.now() - this.#activeAt
  }

  /** A connection has started. */
  start (): void {
    this.stop()
    this.#activeAt = performance.now()
    this.#hasPreamble = false
    if (this.windowMs > 0) this.#check()
  }

  /** The connection has ended. */
  stop (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** A chunk has arrived. */
  chunk (): void {
    this.#quietMs = this.silenceMs
    this.#activeAt = performance.now()
  }

  /** There was a comment in the latest chunk. */
  comment (): void {
    const before = this.windowMs
    if (this.#hasPreamble) this.#heartbeatMs = Math.max(this.#heartbeatMs, this.#quietMs)
    this.#hasPreamble = true
    this.#factor = 1
    if (this.windowMs < before && this.#timer !== undefined) this.#check()
  }

  /**
   * Checks when the window may be over, instead of at each chunk: a busy stream must not set a timer for every chunk.
   */
  #check (): void {
    clearTimeout(this.#timer)
    const leftMs = this.windowMs - this.silenceMs
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#check(), leftMs)
      return
    }
    this.#factor *= 2
    this.stop()
    this.#onStall()
  }
}
