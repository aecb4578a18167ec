import { defineError } from '../common/define-error.ts'
import type { OptionError } from '../common/option-check.ts'

/** All errors of the topics. The `code` and the HTTP status are API, the message is not. */
export const errors = {
  /** An option of the topics or of a log is unknown, of the wrong type or out of range. */
  TOPICS_BAD_OPTION: defineError('TOPICS_BAD_OPTION', 'topics: option "%s" must be %s, saw %s', 500, TypeError),
  /** A topic name is invalid. */
  TOPICS_BAD_TOPIC: defineError(
    'TOPICS_BAD_TOPIC',
    'topic must be 1 to 200 characters of A-Z a-z 0-9 . _ ~ : @ / - beginning with a letter or digit, saw %s',
    400
  ),
  /** A subscription names no topic, or too many for one connection. */
  TOPICS_BAD_TOPIC_COUNT: defineError('TOPICS_BAD_TOPIC_COUNT', 'a stream must have 1 to %s topics, saw %s', 400),
  /** A handler returned a subscription instead of streaming it. */
  TOPICS_NOT_STREAMED: defineError(
    'TOPICS_NOT_STREAMED',
    'a subscription cannot be sent as JSON: return reply.sse(app.topics.subscribe(…)) from the handler',
    500
  ),
  /** Two topics of one connection have the same tag in its cursor. */
  TOPICS_SAME_TAG: defineError(
    'TOPICS_SAME_TAG',
    'topics "%s" and "%s" have the same tag in a cursor, so one connection cannot resume both: open one for each',
    400
  ),
  /** The streams of this process would follow more topics than it may. */
  TOPICS_TOO_MANY_FOLLOWED: defineError(
    'TOPICS_TOO_MANY_FOLLOWED',
    'this process follows at most %s topics, it already follows %s and cannot follow %s more',
    503
  ),
  /** An event to publish is malformed. */
  TOPICS_BAD_EVENT: defineError('TOPICS_BAD_EVENT', 'event%s: %s', 400),
  /** An event to publish is larger than `maxEventBytes`. */
  TOPICS_EVENT_TOO_LARGE: defineError(
    'TOPICS_EVENT_TOO_LARGE',
    'event%s: must be at most %s bytes on the wire, saw %s',
    413
  ),
  /** A batch to publish is empty or longer than `maxBatchEvents`. */
  TOPICS_BAD_BATCH: defineError('TOPICS_BAD_BATCH', 'a batch must have 1 to %s events, saw %s', 400),
  /** A batch to publish is larger than any log can append at once. */
  TOPICS_BATCH_TOO_LARGE: defineError(
    'TOPICS_BATCH_TOO_LARGE',
    'a batch must be at most %s bytes on the wire, saw %s: publish it in parts',
    413
  ),
  /**
   * An option that specifies where a subscription starts, or what to read, is unknown, of the wrong type or out of
   * range.
   */
  TOPICS_BAD_START: defineError('TOPICS_BAD_START', '"%s" must be %s, saw %s', 400),
  /** A stream without control events cannot report that events are missing. */
  TOPICS_GAP: defineError(
    'TOPICS_GAP',
    'events of topic "%s" are missing after the position of this stream (%s): begin without a cursor, ' +
      'or request control events, which report what is missing',
    410
  ),
  /** An idempotency key is malformed. */
  TOPICS_BAD_IDEMPOTENCY_KEY: defineError(
    'TOPICS_BAD_IDEMPOTENCY_KEY',
    'idempotency key must be 1 to 128 printable ASCII characters, saw %s',
    400
  ),
  /** An idempotency key was used before by the same publisher, in the same topic, with other events. */
  TOPICS_IDEMPOTENCY_KEY_REUSED: defineError(
    'TOPICS_IDEMPOTENCY_KEY_REUSED',
    'idempotency key "%s" was already used for other events in topic "%s": ' +
      'repeat a publish with the same events, or choose a new key',
    422
  ),
  /** A publish to a topic that was closed. */
  TOPICS_CLOSED: defineError('TOPICS_CLOSED', 'topic "%s" is closed: it accepts no more events', 409),
  /** The value passed to a producer is not a source. */
  TOPICS_BAD_SOURCE: defineError(
    'TOPICS_BAD_SOURCE',
    'a producer cannot publish %s: pass an (async) iterable, a Readable, a ReadableStream, a fetch Response, ' +
      'or a function that returns one of these',
    500,
    TypeError
  ),
  /** The Response passed to a producer is not an event stream. */
  TOPICS_BAD_UPSTREAM: defineError(
    'TOPICS_BAD_UPSTREAM',
    'the upstream of a producer must answer 2xx and text/event-stream, saw %s and %s',
    502
  ),
  /** A topic already has a producer, and the options do not say to take over. */
  TOPICS_PRODUCER_EXISTS: defineError(
    'TOPICS_PRODUCER_EXISTS',
    'topic "%s" already has a producer, "%s", whose lease runs for another %s ms: wait until it ends, stop it, ' +
      'or pass takeOver: true',
    409
  ),
  /**
   * An append, a renewal or an end by a producer that no longer holds the lease: another producer took over, or the
   * topic was deleted.
   */
  TOPICS_LEASE_LOST: defineError(
    'TOPICS_LEASE_LOST',
    'this producer no longer holds the lease of topic "%s": another one took over, or the topic was deleted',
    409
  ),
  /**
   * A producer wants to continue after more of its events than the topic has: some were lost, or it is a different
   * topic.
   */
  TOPICS_EVENTS_MISSING: defineError(
    'TOPICS_EVENTS_MISSING',
    'topic "%s" has %s events of this producer, so it cannot be continued after %s: continue after those, ' +
      'or check the name of the topic and of the producer',
    409
  ),
  /** To be thrown by the source of a producer: it was interrupted, and may be continued in another process. */
  TOPICS_INTERRUPTED: defineError('TOPICS_INTERRUPTED', 'the source of the producer was interrupted: %s', 503),
  /** The folder of an LMDB log is used by another process; more than one process needs the Redis log. */
  TOPICS_LOG_IN_USE: defineError(
    'TOPICS_LOG_IN_USE',
    'the log in %s is in use by another process: ' +
      'give each process a folder of its own, or use the Redis log for one log with many processes',
    500
  ),
  /** The files of an LMDB log are damaged. */
  TOPICS_LOG_CORRUPT: defineError(
    'TOPICS_LOG_CORRUPT',
    'the log in %s is damaged (%s): restore it from a backup, or start with an empty folder',
    500
  ),
  /** The files of an LMDB log were written by a version with another format. */
  TOPICS_LOG_FORMAT: defineError(
    'TOPICS_LOG_FORMAT',
    'the log in %s has %s, and this version reads format %s: ' +
      'start the version that wrote it, or start with an empty folder',
    500
  ),
  /**
   * The log is unreachable or temporarily rejects the operation; nothing was acknowledged. With `mayBeDone: true` the
   * operation may have been executed anyway, otherwise it was not.
   */
  TOPICS_LOG_UNAVAILABLE: defineError('TOPICS_LOG_UNAVAILABLE', 'the log is not available: %s', 503)
} as const

/** The `code` of an error raised by the topics. */
export type TopicsErrorCode = keyof typeof errors

/** The error for an option of the topics or of their logs. */
export const badOption: OptionError = (...seen) => new errors.TOPICS_BAD_OPTION(...seen)

/** The error for an option that specifies where to start or what to read. */
export const badStart: OptionError = (...seen) => new errors.TOPICS_BAD_START(...seen)
