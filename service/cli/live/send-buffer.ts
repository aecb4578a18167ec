import type { InputEvent } from '../commands/input.ts'

/** Approximate memory of an event in addition to its text, in bytes. */
const EVENT_BYTES = 64
/** Dropped events are removed together when there are this many, not one by one. */
const CUT_EVENTS = 1_024

/**
 * The newest events of the input, numbered from 0: all that may not be in the log yet and, as far as there is room,
 * earlier ones. A log that lost some in a failover receives those again.
 *
 *     0 … first … accepted … next
 *         |  in the log | not yet |
 */
export class SendBuffer {
  readonly #limitBytes: number
  /** The events from number `#first - #cut` on. */
  #events: InputEvent[] = []
  /** Number of dropped events at the beginning of `#events`. */
  #cut = 0
  #first = 0
  #accepted = 0
  /** Bytes of all kept events, and of those that may not be in the log yet. */
  #bytes = 0
  #openBytes = 0
  /** True when the input has ended and no event will be added. */
  isEnded = false

  constructor (limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  /** Number of the oldest kept event. */
  get first (): number { return this.#first }
  /** Number of events in the log, as far as is known. */
  get accepted (): number { return this.#accepted }
  /** Number of events of the input so far. */
  get next (): number { return this.#first + this.#events.length - this.#cut }
  /** True if the log has all events so far. */
  get isClear (): boolean { return this.#accepted === this.next }
  /** True if no more should be added for now. */
  get isFull (): boolean { return this.#openBytes >= this.#limitBytes }
  /** True if it is time to ask for the log's progress. */
  get isHalfFull (): boolean { return 2 * this.#openBytes >= this.#limitBytes }

  add (events: readonly InputEvent[]): void {
    for (const event of events) {
      this.#events.push(event)
      this.#bytes += sizeOf(event)
      this.#openBytes += sizeOf(event)
    }
    this.#forget()
  }

  /** The log has this many events: more than before, more than were read, or (from `first` on) fewer. */
  accept (count: number): void {
    const accepted = Math.min(count, this.next)
    for (; this.#accepted < accepted; this.#accepted++) this.#openBytes -= sizeOf(this.at(this.#accepted))
    for (; this.#accepted > accepted; this.#accepted--) this.#openBytes += sizeOf(this.at(this.#accepted - 1))
    this.#forget()
  }

  /** The event with a number from `first` to before `next`. */
  at (number: number): InputEvent { return this.#events[this.#cut + number - this.#first]! }

  /** Lines starting with an event, about as many as fit into `bytes`; none if there are none. */
  linesFrom (number: number, bytes: number): { lines: string, next: number } {
    let lines = ''
    let next = number
    for (; next < this.next && lines.length < bytes; next++) lines += this.at(next).json + '\n'
    return { lines, next }
  }

  /** Drops only events that are in the log. */
  #forget (): void {
    for (; this.#first < this.#accepted && this.#bytes > this.#limitBytes; this.#first++, this.#cut++) {
      this.#bytes -= sizeOf(this.#events[this.#cut]!)
    }
    if (this.#cut < CUT_EVENTS) return
    this.#events = this.#events.slice(this.#cut)
    this.#cut = 0
  }
}

function sizeOf ({ json }: InputEvent): number {
  return json.length + EVENT_BYTES
}
