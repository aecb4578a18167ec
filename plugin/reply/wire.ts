import { isUtf8 } from 'node:buffer'
import { types } from 'node:util'
import { errors } from './errors.ts'
import { IN_BAND, inBandData } from '../common/in-band.ts'
import { show } from '../common/show.ts'
import { createFrame } from './frame.ts'
import type { Frame } from './frame.ts'

/**
 * The wire format of Server-Sent Events, serializer side
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
 * Lines end with LF only; one event is one Buffer and is never cut.
 */

/** Converts event data to text. The result may contain any line ending; it is split into `data:` lines. */
export type Serializer = (data: unknown) => string

/** One event on the wire. */
export interface WireEvent {
  /** Becomes the client's `Last-Event-ID`. At most 1,024 bytes, no control bytes, no space or tab at either end. */
  id?: string | number | bigint | typeof RESET_ID | undefined
  /**
   * Event name. Without a name, with `''` and with `'message'`, the client fires `message`. `open` and `error` are
   * rejected.
   */
  event?: string | undefined
  /** The payload. Strings are sent unchanged, bytes must be UTF-8, other values are passed to the serializer. */
  data?: unknown
  /** Milliseconds the client waits before it reconnects, 0 to 3,600,000. */
  retry?: number | undefined
}

/**
 * As `id`, resets the client's last event id: its next request has no `Last-Event-ID`.
 * An empty string as id is rejected, because it would do the same by accident.
 */
export const RESET_ID: unique symbol = Symbol('fastify-resumable-sse.reset-id')

/** Upper bound of `retry`, in ms: browsers interpret larger numbers differently. */
export const MAX_RETRY_MS = 3_600_000
/** Upper bound of an id, in bytes: clients send it back in a header. */
export const MAX_ID_BYTES = 1024

// Comments and `retry:` lines between events are not followed by a blank line of their own. By the standard such a line
// would have no effect, but many clients, including @microsoft/fetch-event-source, dispatch an empty message for each
// one.

/** The first bytes of every stream: Firefox fires `open` only with the first byte of the body. */
export const PREAMBLE: Buffer = Buffer.from(':\n')
/** The comment that keeps an idle connection alive. */
export const HEARTBEAT: Frame = createFrame([Buffer.from(':\n')], 0)

/** The id of the event which says that the end of a stream is final. It differs from all cursors and ids of a log. */
export const FINAL_ID = IN_BAND.end
/** The last event of such a stream. */
export const FINAL_FRAME: Frame = {
  bytes: Buffer.from(
    `id: ${FINAL_ID}\nevent: ${IN_BAND.end}\ndata: ${inBandData(IN_BAND.end, { reason: 'done' })}\n\n`
  ),
  events: 1
}

const EOL = /\r\n|\r|\n/
// eslint-disable-next-line no-control-regex -- control bytes are what is looked for
const ID_FORBIDDEN = /[\u0000-\u001f\u007f]|^ | $/
// eslint-disable-next-line no-control-regex -- CR, LF and NUL would end or void the field
const EVENT_FORBIDDEN = /[\r\n\u0000]/
/** Names that EventSource itself fires. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set(['open', 'error'])
const FIELDS = new Set(['id', 'event', 'data', 'retry'])

/** Strings unchanged, everything else as JSON on one line. Throws for a promise, which JSON would write as `{}`. */
export function defaultSerializer (data: unknown): string {
  if (types.isPromise(data)) throw new TypeError('it is a promise: await it first')
  return typeof data === 'string' ? data : JSON.stringify(data)
}

/**
 * Encodes one event as one Buffer, ending with its blank line; a bare `retry` is one line without it. Throws
 * `FST_SSE_BAD_EVENT`, which names the field; nothing is written then.
 */
export function encodeEvent (event: WireEvent, serialize: Serializer = defaultSerializer): Buffer {
  checkFields(event)
  let text = ''
  if (event.id !== undefined) text += idLine(event.id)
  if (event.event !== undefined) text += eventLine(event.event)
  if (event.retry !== undefined) text += retryLine(event.retry)
  if (event.data !== undefined) text += dataLines(event.data, serialize)
  // A bare retry is not an event, see above.
  return Buffer.from(event.data === undefined ? text : text + '\n')
}

/** Encodes a comment, each of its lines after a colon. */
export function encodeComment (text: string): Frame {
  return { bytes: Buffer.from(text.split(EOL).map(line => line === '' ? ':\n' : `: ${line}\n`).join('')), events: 0 }
}

/** Encodes `retry: <ms>`. Throws `FST_SSE_BAD_EVENT` if out of range. */
export function encodeRetry (retryMs: number): Frame {
  return { bytes: Buffer.from(retryLine(retryMs)), events: 0 }
}

/** True for an object that has only fields of an event. */
export function isWireEvent (value: unknown): value is WireEvent {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false
  const keys = Object.keys(value)
  return keys.length > 0 && keys.every(key => FIELDS.has(key))
}

/**
 * Checks an event name: a string without CR, LF or NUL that is not `open` or `error`
 * (those would fire the page's own handlers). Returns it.
 */
export function checkEventName (name: unknown): string {
  if (typeof name !== 'string') throw bad('event', 'must be a string', name)
  if (EVENT_FORBIDDEN.test(name)) throw bad('event', 'must not contain CR, LF or NUL', name)
  if (RESERVED_NAMES.has(name)) {
    throw bad('event', 'must not be "open" or "error": EventSource fires those itself', name)
  }
  return name
}

function checkFields (event: WireEvent): void {
  if (typeof event !== 'object' || event === null) {
    throw badEvent('must be an object { id?, event?, data?, retry? }: wrap bare data as { data }', event)
  }
  if (Symbol.iterator in event || Symbol.asyncIterator in event || 'then' in event) {
    throw badEvent('must be one event: pass a source of many, or a promise, to reply.sse()', event)
  }
  for (const key in event) {
    if (!FIELDS.has(key)) {
      throw bad(key, 'is unknown: an event is { id?, event?, data?, retry? }, wrap anything else as { data }', event)
    }
  }
  // Without data a client dispatches nothing, and Firefox also forgets the id; only a bare retry has an effect.
  const bareRetry = event.retry !== undefined && event.id === undefined && event.event === undefined
  if (event.data === undefined && !bareRetry) {
    throw bad('data', 'is missing: clients ignore an event without data', event)
  }
}

function idLine (id: NonNullable<WireEvent['id']>): string {
  if (id === RESET_ID) return 'id\n'
  if (typeof id === 'bigint') return `id: ${id}\n`
  if (typeof id === 'number') {
    if (!Number.isFinite(id)) throw bad('id', 'must be a finite number', String(id))
    return `id: ${id}\n`
  }
  if (typeof id !== 'string') throw bad('id', 'must be a string, a number or a bigint', id)
  if (id === '') throw bad('id', 'must not be empty: pass RESET_ID to make the client forget its id', id)
  if (ID_FORBIDDEN.test(id)) throw bad('id', 'must not contain control bytes, nor begin or end with a space', id)
  if (Buffer.byteLength(id) > MAX_ID_BYTES) {
    throw bad('id', `must be at most ${MAX_ID_BYTES} bytes`, `${Buffer.byteLength(id)} bytes`)
  }
  return `id: ${id}\n`
}

function eventLine (name: string): string {
  checkEventName(name)
  return name === '' || name === 'message' ? '' : `event: ${name}\n`
}

function retryLine (retryMs: number): string {
  if (!Number.isInteger(retryMs) || retryMs < 0 || retryMs > MAX_RETRY_MS) {
    throw bad('retry', `must be an integer from 0 to ${MAX_RETRY_MS} (ms)`, String(retryMs))
  }
  return `retry: ${retryMs}\n`
}

function dataLines (data: unknown, serialize: Serializer): string {
  const text = dataText(data, serialize)
  // Firefox drops NUL, Chromium keeps it: a value that clients read differently is rejected.
  if (text.includes('\u0000')) throw bad('data', 'must not contain NUL: send it as JSON', text)
  if (!text.includes('\n') && !text.includes('\r')) return `data: ${text}\n`
  return text.split(EOL).map(line => `data: ${line}\n`).join('')
}

function dataText (data: unknown, serialize: Serializer): string {
  // Not with `instanceof`: bytes of another realm (Jest, node:vm) would be written as an object of numbers.
  if (types.isUint8Array(data)) return bytesText(data)
  const text: unknown = serializeData(data, serialize)
  if (typeof text !== 'string') throw bad('data', 'did not serialize to a string', data)
  return text
}

function serializeData (data: unknown, serialize: Serializer): unknown {
  try {
    return serialize(data)
  } catch (cause) {
    const error = bad(
      'data',
      `could not be serialized (${cause instanceof Error ? cause.message.split('\n')[0] : String(cause)})`,
      data
    )
    error.cause = cause
    throw error
  }
}

function bytesText (bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw bad('data', 'must be valid UTF-8: send other bytes as base64', bytes)
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

function bad (field: string, rule: string, seen: unknown): Error {
  return new errors.FST_SSE_BAD_EVENT(`event field "${field}"`, rule, show(seen))
}

/** For a value that is no event at all, and so has no field that could be named. */
function badEvent (rule: string, seen: unknown): Error {
  return new errors.FST_SSE_BAD_EVENT('an event', rule, show(seen))
}

/**
 * Joins adjacent frames of up to `smallBytes`; larger ones, which many clients may share, are not copied. Preserves the
 * order.
 */
export function joinSmall (frames: readonly Buffer[], smallBytes: number): Buffer[] {
  const joined: Buffer[] = []
  let small: Buffer[] = []
  const join = (): void => {
    if (small.length > 0) joined.push(small.length === 1 ? small[0]! : Buffer.concat(small))
    small = []
  }
  for (const frame of frames) {
    if (frame.length <= smallBytes) small.push(frame)
    else {
      join()
      joined.push(frame)
    }
  }
  join()
  return joined
}
