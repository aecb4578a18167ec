/** Silence after which a stream counts as frozen, while the interval of its heartbeats is unknown. */
const FIRST_WINDOW_MS = 60_000
/** Above the heartbeat intervals in common use, for a server whose heartbeats were only seen between its events. */
const MIN_WINDOW_MS = 20_000
const MAX_WINDOW_MS = 600_000
/** Heartbeats that may be late or lost. */
const HEARTBEATS = 2.5

/**
 * Notices a stream that is frozen or half open. The window is learned from the server's heartbeats: the longest silence
 * that one of them ended. Each stall doubles it until the next heartbeat, in case the server has become slower.
 */
export class StallWatch {
  readonly #onStall: () => void
  readonly #fixedMs: number | undefined
  /** The longest silence before a heartbeat; 0 while there was none. */
  #heartbeatMs = 0
  #factor = 1
  #activeAt = 0
  /** The silence before the newest chunk. */
  #quietMs = 0
  /** The first comment of a connection is its preamble, and says nothing about heartbeats. */
  #hasPreamble = false
  #timer: ReturnType<typeof setTimeout> | undefined

  /** `fixedMs` replaces what is learned; 0 turns the watch off. */
  constructor (onStall: () => void, fixedMs?: number) {
    this.#onStall = onStall
    this.#fixedMs = fixedMs
  }

  /** The silence that is accepted now, in milliseconds. */
  get windowMs (): number {
    if (this.#fixedMs !== undefined) return this.#fixedMs
    const ms = this.#heartbeatMs === 0 ? FIRST_WINDOW_MS : Math.max(this.#heartbeatMs * HEARTBEATS, MIN_WINDOW_MS)
    return Math.min(ms * this.#factor, MAX_WINDOW_MS)
  }

  /** True when the connection has been silent for the window, for a page whose timers stood still. */
  get isStalled (): boolean {
    return this.#timer !== undefined && this.#silenceMs >= this.windowMs
  }

  get #silenceMs (): number {
    return performance.now() - this.#activeAt
  }

  /** A connection begins. */
  start (): void {
    this.stop()
    this.#activeAt = performance.now()
    this.#hasPreamble = false
    if (this.windowMs > 0) this.#check()
  }

  /** The connection is over. */
  stop (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** A chunk came. */
  chunk (): void {
    this.#quietMs = this.#silenceMs
    this.#activeAt = performance.now()
  }

  /** A comment was in the newest chunk. */
  comment (): void {
    const before = this.windowMs
    if (this.#hasPreamble) this.#heartbeatMs = Math.max(this.#heartbeatMs, this.#quietMs)
    this.#hasPreamble = true
    this.#factor = 1
    if (this.windowMs < before && this.#timer !== undefined) this.#check()
  }

  /** Looks when the window could be over, not at each chunk: a busy stream must not set a timer for each. */
  #check (): void {
    clearTimeout(this.#timer)
    const leftMs = this.windowMs - this.#silenceMs
    if (leftMs > 0) {
      this.#timer = setTimeout(() => this.#check(), leftMs)
      return
    }
    this.#factor *= 2
    this.stop()
    this.#onStall()
  }
}
