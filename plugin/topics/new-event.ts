import { defaultSerializer } from '../reply/wire.ts'
import { show } from '../common/show.ts'
import { errors } from './errors.ts'
import { encodeBody, RESERVED_PREFIX } from './frames.ts'
import type { NewEvent } from './log/topic-log.ts'

/** An event as an application publishes it. Data that is not a string goes out as JSON. */
export interface PublishEvent {
  /** Event name; not `open`, `error` or beginning with `stream.`. */
  event?: string | undefined
  data: unknown
  /** Reconnection time for clients, in ms. */
  retry?: number | undefined
}

/** Bounds of what may be published. */
export interface PublishLimits { maxEventBytes: number, maxBatchEvents: number }

const FIELDS = new Set(['event', 'data', 'retry'])
/** What an idempotency key may be, as a regular expression. */
export const KEY_PATTERN = '^[\\x21-\\x7e]{1,128}$'
const KEY = new RegExp(KEY_PATTERN)

/**
 * Checks what is to be published, before anything is appended. Throws `TOPICS_BAD_BATCH`, `TOPICS_BAD_EVENT` naming
 * the field, and `TOPICS_EVENT_TOO_LARGE`; in a batch the message says which event.
 */
export function checkEvents (given: unknown, limits: PublishLimits): NewEvent[] {
  if (!Array.isArray(given)) return [checkEvent(given, '', limits)]
  if (given.length === 0 || given.length > limits.maxBatchEvents) throw new errors.TOPICS_BAD_BATCH(limits.maxBatchEvents, given.length)
  return given.map((event, at) => checkEvent(event, ` ${at}`, limits))
}

/** Checks an idempotency key and returns it. Throws `TOPICS_BAD_IDEMPOTENCY_KEY`. */
export function checkIdempotencyKey (key: unknown): string | undefined {
  if (key === undefined || (typeof key === 'string' && KEY.test(key))) return key
  throw new errors.TOPICS_BAD_IDEMPOTENCY_KEY(show(key))
}

/** Checks one event; `at` says which one it is, behind the word "event". Throws `TOPICS_BAD_EVENT` and `TOPICS_EVENT_TOO_LARGE`. */
export function checkEvent (given: unknown, at: string, { maxEventBytes }: Pick<PublishLimits, 'maxEventBytes'>): NewEvent {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new errors.TOPICS_BAD_EVENT(at, `must be an object { event?, data, retry? }, saw ${show(given)}`)
  }
  const unknown = Object.keys(given).find(key => !FIELDS.has(key))
  if (unknown !== undefined) throw new errors.TOPICS_BAD_EVENT(at, `field ${show(unknown)} is unknown: an event is { event?, data, retry? }`)
  const { event, data, retry } = given as PublishEvent
  if (data === undefined) throw new errors.TOPICS_BAD_EVENT(at, 'field "data" is missing')
  if (typeof event === 'string' && event.startsWith(RESERVED_PREFIX)) {
    throw new errors.TOPICS_BAD_EVENT(at, `field "event" must not begin with "${RESERVED_PREFIX}", saw ${show(event)}`)
  }
  return encodable({ event, data, retry }, at, maxEventBytes)
}

/** What the wire format refuses is refused here with the same words, and the size is that of the frame. */
function encodable ({ event, data, retry }: PublishEvent, at: string, maxEventBytes: number): NewEvent {
  let checked: NewEvent
  let bytes: number
  try {
    checked = { event, data: toText(data), retry }
    bytes = encodeBody(checked).length
  } catch (cause) {
    throw Object.assign(new errors.TOPICS_BAD_EVENT(at, cause instanceof Error ? cause.message : String(cause)), { cause })
  }
  if (bytes > maxEventBytes) throw new errors.TOPICS_EVENT_TOO_LARGE(at, maxEventBytes, bytes)
  return checked
}

function toText (data: unknown): string {
  const text: unknown = defaultSerializer(data)
  if (typeof text !== 'string') throw new TypeError(`field "data" cannot be sent as JSON, saw ${show(data)}`)
  return text
}
