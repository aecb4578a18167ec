import { defaultSerializer, RESERVED_NAMES } from '../reply/wire.ts'
import type { AnyEvents, NamedEvent, SseEvents } from '../reply/events.ts'
import { show } from '../common/show.ts'
import { checkOptions } from '../common/option-check.ts'
import type { OptionCheck } from '../common/option-check.ts'
import { badOption, errors } from './errors.ts'
import { encodeBody, RESERVED_PREFIX } from './feed/frames.ts'
import type { NewEvent } from './log/topic-log.ts'

interface UntypedEvent {
  /** Event name of at most 1,024 bytes; must not be `open` or `error`, or start with `stream.`. */
  event?: string | undefined
  data: unknown
  /** Reconnection time for clients, in ms. */
  retry?: number | undefined
}

/**
 * An event to publish. Data that is not a string is sent as JSON. With a map `E` of data by event name, the data must
 * match the name.
 */
export type PublishEvent<E extends SseEvents = AnyEvents> = string extends keyof E
  ? UntypedEvent
  : NamedEvent<E> & Pick<UntypedEvent, 'retry'>

/** Limits for publishing. */
export interface PublishLimits { maxEventBytes: number, maxBatchEvents: number }

/** Options of a publish. */
export interface PublishOptions {
  /**
   * 1 to 128 printable ASCII characters. Repeating a publish with the same key appends nothing and returns the first
   * ids.
   */
  idempotencyKey?: string | undefined
  /**
   * The owner of the key, such as the subject of a grant: different publishers may use the same key. Default none: keys
   * belong to the topic alone.
   */
  publisher?: string | undefined
}

/** Maximum number of events in a batch: one transaction of the log, during which nothing else is appended. */
export const MAX_BATCH_EVENTS = 100_000
/** Maximum bytes of a batch: a Redis command is one string, and strings in V8 are limited to 512 Mi characters. */
const MAX_BATCH_BYTES = 256 * 1024 * 1024

const FIELDS = new Set(['event', 'data', 'retry'])
const PREFIX = RESERVED_PREFIX.replace('.', '\\.')
const NAMES = [...RESERVED_NAMES].join('|')
/** Maximum bytes of an event name: each reader has it for each event, also where events have no data. */
export const MAX_EVENT_NAME_BYTES = 1_024
/** The allowed event names as a regular expression: the same rule as in `checkEvent`, except for their length. */
export const EVENT_PATTERN: string = `^(?!${PREFIX})(?!(?:${NAMES})$)[^\\r\\n\\u0000]*$`
/** The allowed idempotency keys, as a regular expression. */
export const KEY_PATTERN = '^[\\x21-\\x7e]{1,128}$'
const KEY = new RegExp(KEY_PATTERN)

/** An event that passed the checks, and is not checked again. */
export class CheckedEvent implements NewEvent {
  readonly event: string | undefined
  readonly data: string
  readonly retry: number | undefined
  readonly #bytes: number

  /** Throws the errors of the wire format. */
  constructor ({ event, data, retry }: PublishEvent) {
    this.event = event
    this.data = toText(data)
    this.retry = retry
    this.#bytes = encodeBody(this).length
  }

  /** Its size on the wire, without its id. */
  get bytes (): number { return this.#bytes }
}

/**
 * Checks events before anything is appended. Throws `TOPICS_BAD_BATCH`, `TOPICS_BATCH_TOO_LARGE`, `TOPICS_BAD_EVENT`
 * with the field, or `TOPICS_EVENT_TOO_LARGE`; in a batch the message says which event.
 */
export function checkEvents (given: unknown, limits: PublishLimits): CheckedEvent[] {
  if (!Array.isArray(given)) return [checkEvent(given, '', limits)]
  if (given.length === 0 || given.length > limits.maxBatchEvents) {
    throw new errors.TOPICS_BAD_BATCH(limits.maxBatchEvents, given.length)
  }
  let bytes = 0
  return given.map((event, at) => {
    const checked = checkEvent(event, ` ${at}`, limits)
    bytes += checked.bytes
    if (bytes > MAX_BATCH_BYTES) throw new errors.TOPICS_BATCH_TOO_LARGE(MAX_BATCH_BYTES, 'more')
    return checked
  })
}

/** Checks an idempotency key and returns it. Throws `TOPICS_BAD_IDEMPOTENCY_KEY`. */
export function checkIdempotencyKey (key: unknown): string | undefined {
  if (key === undefined || (typeof key === 'string' && KEY.test(key))) return key
  throw new errors.TOPICS_BAD_IDEMPOTENCY_KEY(show(key))
}

const PUBLISH_CHECKS: Readonly<Record<keyof PublishOptions, OptionCheck>> = {
  // Checked separately, because it has its own error.
  idempotencyKey: { range: '', ok: () => true },
  publisher: { range: 'a string', ok: value => typeof value === 'string' }
}

/** Checks the options of a publish. Throws `TOPICS_BAD_IDEMPOTENCY_KEY` and `TOPICS_BAD_OPTION`. */
export function checkPublishOptions (given: PublishOptions): PublishOptions {
  if (typeof given !== 'object' || given === null) {
    throw badOption('options', 'an object { idempotencyKey?, publisher? }', show(given))
  }
  checkOptions(given, PUBLISH_CHECKS, badOption)
  return { idempotencyKey: checkIdempotencyKey(given.idempotencyKey), publisher: given.publisher }
}

/**
 * Checks one event; `at` identifies it in messages, after the word "event". Throws `TOPICS_BAD_EVENT` and
 * `TOPICS_EVENT_TOO_LARGE`.
 */
export function checkEvent (
  given: unknown,
  at: string,
  { maxEventBytes }: Pick<PublishLimits, 'maxEventBytes'>
): CheckedEvent {
  if (given instanceof CheckedEvent) return given
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new errors.TOPICS_BAD_EVENT(at, `must be an object { event?, data, retry? }, saw ${show(given)}`)
  }
  const unknown = Object.keys(given).find(
    key => !FIELDS.has(key) && (given as Record<string, unknown>)[key] !== undefined
  )
  if (unknown !== undefined) {
    throw new errors.TOPICS_BAD_EVENT(at, `field ${show(unknown)} is unknown: an event is { event?, data, retry? }`)
  }
  const { event, data, retry } = given as PublishEvent
  if (data === undefined) throw new errors.TOPICS_BAD_EVENT(at, 'field "data" is missing')
  if (typeof event === 'string') checkName(event, at)
  const checked = encodable({ event, data, retry }, at)
  if (checked.bytes > maxEventBytes) throw new errors.TOPICS_EVENT_TOO_LARGE(at, maxEventBytes, checked.bytes)
  return checked
}

/** The rules of a topic for a name, in addition to those of the wire format. */
function checkName (event: string, at: string): void {
  if (event.startsWith(RESERVED_PREFIX)) {
    throw new errors.TOPICS_BAD_EVENT(at, `field "event" must not begin with "${RESERVED_PREFIX}", saw ${show(event)}`)
  }
  const bytes = Buffer.byteLength(event)
  if (bytes <= MAX_EVENT_NAME_BYTES) return
  throw new errors.TOPICS_BAD_EVENT(at, `field "event" must be at most ${MAX_EVENT_NAME_BYTES} bytes, saw ${bytes}`)
}

/** An event that the wire format rejects is rejected here, with the same message. */
function encodable (event: PublishEvent, at: string): CheckedEvent {
  try {
    return new CheckedEvent(event)
  } catch (error) {
    const { message, cause = error } = error as Error
    throw Object.assign(new errors.TOPICS_BAD_EVENT(at, message), { cause })
  }
}

function toText (data: unknown): string {
  const text: unknown = serialize(data)
  if (typeof text !== 'string') throw new TypeError(`field "data" cannot be sent as JSON, saw ${show(data)}`)
  return text
}

function serialize (data: unknown): unknown {
  try {
    return defaultSerializer(data)
  } catch (cause) {
    const [reason] = (cause instanceof Error ? cause.message : String(cause)).split('\n')
    throw new TypeError(`field "data" cannot be sent as JSON (${reason}), saw ${show(data)}`, { cause })
  }
}
