import { checkOptions, integer, isObject, withoutRegisterOptions, withoutUndefined } from '../common/option-check.ts'
import type { OptionCheck } from '../common/option-check.ts'
import { badOption } from './errors.ts'
import { DEFAULT_ALL_TAILS_BYTES, DEFAULT_MAX_TOPICS } from './feed/hub.ts'
import type { TopicLog } from './log/topic-log.ts'
import { MAX_BATCH_EVENTS } from './new-event.ts'
import { NO_OBSERVER } from './observer.ts'
import type { TopicsObserver } from './observer.ts'

/** Options of the topics plugin. */
export interface TopicsOptions {
  /** The log; the content of a `MemoryLog` is lost with the process. */
  log: TopicLog
  /** Maximum size of one event on the wire, in bytes. Default 256 KiB. */
  maxEventBytes?: number
  /** Maximum number of events in one publish, up to 100,000. Default 1,000. */
  maxBatchEvents?: number
  /** Encoded bytes kept in memory for each set of topics that has readers. Default 1 MiB. */
  maxTailBytes?: number
  /** Encoded bytes kept in memory for all sets of topics together. Default 64 MiB. */
  maxAllTailsBytes?: number
  /**
   * Maximum number of topics that the open streams of this process may follow together; a stream that exceeds it gets
   * 503. Default 100,000.
   */
  maxTopics?: number
  /** Observes the topics, for metrics. Default none. */
  observer?: TopicsObserver
}

const DEFAULTS = {
  maxEventBytes: 256 * 1024,
  maxBatchEvents: 1_000,
  maxTailBytes: 1024 * 1024,
  maxAllTailsBytes: DEFAULT_ALL_TAILS_BYTES,
  maxTopics: DEFAULT_MAX_TOPICS,
  observer: NO_OBSERVER
}

/** The limits of one app's topics, with their defaults. */
export type TopicsLimits = Required<Omit<TopicsOptions, 'log' | 'observer'>>

const fromOne: OptionCheck = { ...integer(1, Number.MAX_SAFE_INTEGER), range: 'an integer from 1' }

const CHECKS: Readonly<Record<keyof TopicsOptions, OptionCheck>> = {
  log: {
    range: 'a TopicLog, such as new MemoryLog()',
    ok: value => isObject(value) && typeof value.append === 'function',
    isRequired: true
  },
  maxEventBytes: fromOne,
  maxBatchEvents: integer(1, MAX_BATCH_EVENTS),
  maxTailBytes: fromOne,
  maxAllTailsBytes: fromOne,
  maxTopics: fromOne,
  observer: { range: 'a TopicsObserver', ok: value => isObject(value) && typeof value.onBatch === 'function' }
}

/** Fills in the defaults. Throws `TOPICS_BAD_OPTION`, which names the option, its range and the value seen. */
export function resolveTopicsOptions (given: TopicsOptions): Required<TopicsOptions> {
  const options = withoutRegisterOptions(given)
  checkOptions(options, CHECKS, badOption)
  return { ...DEFAULTS, ...withoutUndefined(options) }
}
