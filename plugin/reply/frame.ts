/**
 * The unit that moves from a source to a response: one or more whole events in the wire format, encoded once and shared
 * by all streams that send them.
 */
export interface Frame {
  /** Not copied: do not change them afterwards. */
  readonly bytes: Buffer
  /** Events in it, for the counters; heartbeats, comments and what the stream says of itself count as none. */
  readonly events: number
}

/** What a reader of a log needs of a stream; `SseStream` is one. */
export interface FrameSink {
  /** True until the sink is over. */
  readonly isOpen: boolean
  /** True while a frame has to wait for room. */
  readonly isFull: boolean
  /** Settles when the sink is over; never rejects. */
  readonly closed: Promise<unknown>
  /** Settles true when there is room, false when the sink is over. */
  room: () => Promise<boolean>
  /** Takes a frame whatever its size, unless the sink is full. False when it was not taken. */
  write: (frame: Frame) => boolean
  /** Nothing follows what was written. */
  end: () => void
}
