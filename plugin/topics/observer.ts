import type { GapReason } from '../common/in-band.ts'

/**
 * How a client that brought a cursor goes on in a topic: with events it had not seen, with none to catch up on, or
 * behind a gap.
 */
export type ResumeOutcome = 'exact' | 'empty' | GapReason

/** What one turn of the event loop brought to the readers of a feed. */
export interface ObservedBatch {
  events: number
  /** Of the whole batch, encoded; each reader is written so many. */
  bytes: number
  /** Ms between the time in the id of its first event, by the log's clock, and now, by this process' own. */
  lagMs: number
}

/**
 * Hears what the topics do, for metrics. Nothing in it is called per event or per client while events are fanned out.
 * It must not throw.
 */
export interface TopicsObserver {
  /** Once per topic of a client with a cursor that says something of that topic, or that cannot be read. */
  onResume: (outcome: ResumeOutcome) => void
  /**
   * A gap was found behind the start of a stream: by a topic, for all its readers, or by one reader that was behind.
   */
  onGap: (reason: GapReason) => void
  /** A batch with events is about to be written to the readers of its feed. */
  onBatch: (batch: ObservedBatch) => void
  /** A followed topic is compared with the log. */
  onRepair: () => void
}

/** Hears nothing. */
export const NO_OBSERVER: TopicsObserver = { onResume () {}, onGap () {}, onBatch () {}, onRepair () {} }
