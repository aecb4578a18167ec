import { guardCallback } from '../common/callback.ts'
import type { CallbackLogger } from '../common/callback.ts'
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
 * Observes the topics, for metrics. Nothing in it is called per event or per client during fan-out. An
 * exception is logged, at most once per minute and method.
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
  onResync: () => void
}

/** Observes nothing. */
export const NO_OBSERVER: TopicsObserver = { onResume () {}, onGap () {}, onBatch () {}, onResync () {} }

/** A broken observer would fail on each batch. */
const REPORT_MS = 60_000

/** The same observer, whose exceptions are logged and affect nothing else. */
export function guardObserver (observer: TopicsObserver, log: CallbackLogger): TopicsObserver {
  const guard = <Args extends unknown[]>(name: keyof TopicsObserver, call: (...args: Args) => void) => {
    const seldom = logSeldom(log)
    return (...args: Args): void => { guardCallback(seldom, `method ${name} of the observer`, () => call(...args)) }
  }
  return {
    onResume: guard('onResume', outcome => observer.onResume(outcome)),
    onGap: guard('onGap', reason => observer.onGap(reason)),
    onBatch: guard('onBatch', batch => observer.onBatch(batch)),
    onResync: guard('onResync', () => observer.onResync())
  }
}

function logSeldom (log: CallbackLogger): CallbackLogger {
  let reportedAt = -Infinity
  return {
    error (details, message) {
      if (performance.now() - reportedAt < REPORT_MS) return
      reportedAt = performance.now()
      log.error(details, message)
    }
  }
}
