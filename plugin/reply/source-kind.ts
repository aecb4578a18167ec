import { types } from 'node:util'
import { isWireEvent } from './wire.ts'

/**
 * Tests what kind of value is to be streamed. By shape and not by class: a Response of the package `undici`, a stream
 * of `readable-stream` or a promise of another realm works like Node's own.
 */

/** The used part of a fetch Response. The body is a Readable with `node-fetch`, and a web stream everywhere else. */
export interface ResponseLike {
  ok: boolean
  status: number
  bodyUsed?: boolean
  headers: { get: (name: string) => string | null }
  body: unknown
}

/** The used part of a Readable. */
export interface ReadableLike extends AsyncIterable<unknown> { destroy: () => unknown }

/** The used part of a web ReadableStream, of Node or the DOM library. */
export interface WebStreamLike<T = unknown> {
  readonly locked: boolean
  cancel: () => Promise<void>
  getReader: () => { read: () => Promise<{ done: boolean, value?: T | undefined }>, cancel: () => Promise<void> }
}

export type Many = Iterable<unknown> | AsyncIterable<unknown> | WebStreamLike

/** True for an object with these methods. */
export function has<K extends string> (
  value: unknown,
  ...methods: K[]
): value is Record<K, (...args: never[]) => unknown> {
  if (typeof value !== 'object' || value === null) return false
  return methods.every(name => typeof (value as Record<string, unknown>)[name] === 'function')
}

/** True for a promise of any kind. A query object that can be both awaited and iterated counts as iterable. */
export function isThenable (value: unknown): value is PromiseLike<unknown> {
  return has(value, 'then') && !(Symbol.asyncIterator in value)
}

export function isResponse (value: unknown): value is ResponseLike {
  return (
    typeof value === 'object' &&
    value !== null &&
    'body' in value &&
    'ok' in value &&
    'status' in value &&
    'headers' in value &&
    has(value.headers, 'get')
  )
}

export function isReadable (value: unknown): value is ReadableLike {
  return has(value, 'pipe', 'destroy') && Symbol.asyncIterator in value
}

export function isWebStream (value: unknown): value is WebStreamLike {
  return has(value, 'getReader', 'cancel')
}

/** True for bytes, including those of another realm. */
export const isBytes = types.isUint8Array

/** True for a source that yields one item after another. */
export function isMany (value: unknown): value is Many {
  if (typeof value !== 'object' || value === null || isBytes(value)) return false
  return Symbol.asyncIterator in value || Symbol.iterator in value || isWebStream(value)
}

/** True for one event, or just the data of one. */
export function isItem (value: unknown): boolean {
  return (
    value === null ||
    ['string', 'number', 'bigint', 'boolean'].includes(typeof value) ||
    isBytes(value) ||
    isWireEvent(value)
  )
}

/**
 * Releases a source that will not be streamed (HEAD, 406, the client has already disconnected), so that its file or
 * socket is closed. Never throws.
 */
export function dispose (source: unknown): void {
  try {
    release(source)?.then(undefined, () => {})
  } catch {
    // Ignored: the response is being sent for another reason.
  }
}

function release (source: unknown): PromiseLike<unknown> | undefined {
  if (isThenable(source)) return source.then(dispose)
  if (isReadable(source)) source.destroy()
  else if (isWebStream(source)) return source.locked ? undefined : source.cancel()
  else if (isResponse(source)) return source.bodyUsed ? undefined : release(source.body)
  // An iterator, such as that of `events.on()`.
  else if (has(source, 'next', 'return')) return Promise.resolve(source.return())
}
