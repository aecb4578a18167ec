import type { GapReason } from '../common/in-band.ts'

/**
 * How a client with a cursor resumes in a topic: with events it had not seen, with none to catch up on, or after a gap.
 */
export type ResumeOutcome = 'exact' | 'empty' | GapReason

/** What the readers of a feed receive in one tick of the event loop. */
export interface ObservedBatch {
  events: number
  /** Encoded size of the whole batch; each reader is written this many bytes. */
  bytes: number
  /**
   * Milliseconds between the time in the id of its first event (the log's clock) and now (the clock of this process).
   */
  lagMs: number
}

/**
 * Observes the topics, for metrics. Nothing in it is called per event or per client during fan-out. It must not throw.
 */
export interface TopicsObserver {
  /** Called once per topic for a client whose cursor contains that topic or cannot be read. */
  onResume: (outcome: ResumeOutcome) => void
  /**
   * A gap was found after the start of a stream: by a topic, for all its readers, or by a single reader that was
   * behind.
   */
  onGap: (reason: GapReason) => void
  /** A batch with events is about to be written to the readers of its feed. */
  onBatch: (batch: ObservedBatch) => void
  /** A followed topic is compared with the log. */
  onRepair: () => void
}

/** Observes nothing. */
export const NO_OBSERVER: TopicsObserver = { onResume () {}, onGap () {}, onBatch () {}, onRepair () {} }
