import { defaultSerializer, RESERVED_NAMES } from '../reply/wire.ts'
import type { AnyEvents, NamedEvent, SseEvents } from '../reply/events.ts'
import { show } from '../common/show.ts'
import { errors } from './errors.ts'
import { encodeBody, RESERVED_PREFIX } from './frames.ts'
import type { NewEvent } from './log/topic-log.ts'

interface UntypedEvent {
  /** Event name; not `open`, `error` or beginning with `stream.`. */
  event?: string | undefined
  data: unknown
  /** Reconnection time for clients, in ms. */
  retry?: number | undefined
}

/**
 * An event as an application publishes it. Data that is not a string is sent as JSON. With a map `E` of data by event
 * name the data must fit the name.
 */
export type PublishEvent<E extends SseEvents = AnyEvents> = string extends keyof E
  ? UntypedEvent
  : NamedEvent<E> & Pick<UntypedEvent, 'retry'>

/** Bounds of what may be published. */
export interface PublishLimits { maxEventBytes: number, maxBatchEvents: number }

/** How to publish. */
export interface PublishOptions {
  /** 1 to 128 printable ASCII characters. A publish that is repeated with it adds nothing and returns the first ids. */
  idempotencyKey?: string | undefined
  /**
   * Whose key it is, such as the subject of a grant: different publishers may use the same key. Default none: keys
   * belong to the topic alone.
   */
  publisher?: string | undefined
}

/** Events of a batch, at most: one transaction of the log, during which nothing else is appended. */
export const MAX_BATCH_EVENTS = 100_000
/** Bytes of a batch, at most: a command of Redis is one string, and V8 has none of more than 512 Mi characters. */
const MAX_BATCH_BYTES = 256 * 1024 * 1024

const FIELDS = new Set(['event', 'data', 'retry'])
const PREFIX = RESERVED_PREFIX.replace('.', '\\.')
const NAMES = [...RESERVED_NAMES].join('|')
/** The allowed names of events, as a regular expression: the same rule as that of `checkEvent`. */
export const EVENT_PATTERN: string = `^(?!${PREFIX})(?!(?:${NAMES})$)[^\\r\\n\\u0000]*$`
/** What an idempotency key may be, as a regular expression. */
export const KEY_PATTERN = '^[\\x21-\\x7e]{1,128}$'
const KEY = new RegExp(KEY_PATTERN)

/** An event that passed the checks. One that is checked already is not checked again. */
export class CheckedEvent implements NewEvent {
  readonly event: string | undefined
  readonly data: string
  readonly retry: number | undefined
  readonly #bytes: number

  /** Throws what the wire format throws. */
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
 * Checks what is to be published, before anything is appended. Throws `TOPICS_BAD_BATCH`, `TOPICS_BATCH_TOO_LARGE`,
 * `TOPICS_BAD_EVENT` naming the field, and `TOPICS_EVENT_TOO_LARGE`; in a batch the message says which event.
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

/** Checks the options of a publish. Throws `TOPICS_BAD_IDEMPOTENCY_KEY` and `TOPICS_BAD_OPTION`. */
export function checkPublishOptions (given: PublishOptions): PublishOptions {
  if (typeof given !== 'object' || given === null) {
    throw new errors.TOPICS_BAD_OPTION('options', 'an object { idempotencyKey?, publisher? }', show(given))
  }
  const { idempotencyKey, publisher, ...more } = given
  const [unknown] = Object.keys(more)
  if (unknown !== undefined) {
    throw new errors.TOPICS_BAD_OPTION(unknown, 'one of idempotencyKey, publisher', 'an unknown option')
  }
  if (publisher !== undefined && typeof publisher !== 'string') {
    throw new errors.TOPICS_BAD_OPTION('publisher', 'a string', show(publisher))
  }
  return { idempotencyKey: checkIdempotencyKey(idempotencyKey), publisher }
}

/**
 * Checks one event; `at` says which one it is, after the word "event". Throws `TOPICS_BAD_EVENT` and
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
  if (typeof event === 'string' && event.startsWith(RESERVED_PREFIX)) {
    throw new errors.TOPICS_BAD_EVENT(at, `field "event" must not begin with "${RESERVED_PREFIX}", saw ${show(event)}`)
  }
  const checked = encodable({ event, data, retry }, at)
  if (checked.bytes > maxEventBytes) throw new errors.TOPICS_EVENT_TOO_LARGE(at, maxEventBytes, checked.bytes)
  return checked
}

/** What the wire format rejects is rejected here, in the same words. */
function encodable (event: PublishEvent, at: string): CheckedEvent {
  try {
    return new CheckedEvent(event)
  } catch (cause) {
    throw Object.assign(new errors.TOPICS_BAD_EVENT(at, cause instanceof Error ? cause.message : String(cause)), {
      cause
    })
  }
}

function toText (data: unknown): string {
  const text: unknown = defaultSerializer(data)
  if (typeof text !== 'string') throw new TypeError(`field "data" cannot be sent as JSON, saw ${show(data)}`)
  return text
}
