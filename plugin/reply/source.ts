import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { errors } from './errors.ts'
import { show } from '../common/show.ts'
import { isWireEvent } from './wire.ts'
import type { WireEvent } from './wire.ts'
import type { AnyEvents, SseEvents, SseItem } from './events.ts'
import type { SseStream } from './stream.ts'
import { passThrough } from './pass-through.ts'

/**
 * A source with a say before the first byte, such as a topic subscription.
 * `prepare` may take its time: nothing is sent until it settles. True starts the stream; false answers 204, which tells
 * EventSource to stop for good; a throw goes to Fastify's error handler. `run` then streams; the stream ends when it settles.
 */
export interface PreparedSource<E extends SseEvents = AnyEvents> {
  prepare: (stream: SseStream<E>) => boolean | Promise<boolean>
  run: (stream: SseStream<E>) => void | Promise<void>
}

type Many<E extends SseEvents> = Iterable<SseItem<E>> | AsyncIterable<SseItem<E>> | ReadableStream<SseItem<E> | Uint8Array>

/**
 * What `reply.sse()` can stream.
 *
 * - one event, or bare data for one;
 * - an iterable, async iterable, Readable or web ReadableStream of events or bare data. Bytes in it are one UTF-8 text,
 *   cut anywhere: each chunk becomes one event, and a character cut in two is joined;
 * - a fetch Response with content-type `text/event-stream`, passed on byte by byte;
 * - a function given the stream. What it returns is streamed when it is one of the above; the stream ends when the
 *   promise it returns settles; if it returns nothing it stays open for manual use.
 */
export type SseSource<E extends SseEvents = AnyEvents> =
  | SseItem<E>
  | Many<E>
  | Response
  | PreparedSource<E>
  | ((stream: SseStream<E>) => Many<E> | Response | void | Promise<Many<E> | Response | void>)

/** Refuses what cannot be streamed, before anything is sent. Throws `FST_SSE_BAD_SOURCE` or `FST_SSE_BAD_UPSTREAM`. */
export function checkSource (source: unknown): void {
  if (source instanceof Response) return checkUpstream(source)
  if (typeof source === 'function' || isPrepared(source) || isMany(source) || isItem(source)) return
  throw new errors.FST_SSE_BAD_SOURCE(`${show(source)}: give an event { id?, event?, data?, retry? }, an (async) iterable, a Readable, a ReadableStream, a fetch Response or a function`)
}

/** Streams a source to its end. Settles when the source is used up or the stream is over; rejects with the source's own error. */
export async function runSource (source: unknown, stream: SseStream): Promise<void> {
  if (typeof source === 'function') return runFunction(source as (stream: SseStream) => unknown, stream)
  if (isPrepared(source)) return endAfter(source.run(stream), stream)
  if (source instanceof Response) return endAfter(passThrough(source, stream), stream)
  if (isMany(source)) return endAfter(pump(source, stream), stream)
  return endAfter(stream.send(toEvent(source)), stream)
}

/** Lets go of a source that will not be streamed (HEAD, a client already gone): its file or socket is closed. */
export function dispose (source: unknown): void {
  if (source instanceof Readable) source.destroy()
  else if (source instanceof ReadableStream && !source.locked) source.cancel().catch(() => {})
  else if (source instanceof Response && source.body && !source.bodyUsed) source.body.cancel().catch(() => {})
}

export function isPrepared (source: unknown): source is PreparedSource {
  return typeof source === 'object' && source !== null && 'prepare' in source && 'run' in source
}

async function runFunction (source: (stream: SseStream) => unknown, stream: SseStream): Promise<void> {
  const made = source(stream)
  // A plain callback that returns nothing set up its own pushes: the stream stays open until it or the client ends it.
  if (made === undefined) return
  const result = made instanceof Promise ? await made : made
  if (result === undefined) return stream.end()
  checkSource(result)
  if (typeof result === 'function') throw new errors.FST_SSE_BAD_SOURCE('a function that returns a function')
  return runSource(result, stream)
}

async function endAfter (work: unknown, stream: SseStream): Promise<void> {
  await work
  stream.end()
}

/**
 * Sends item by item, waiting for room. When the stream is over the iterator is returned at once, also while the pump
 * waits for room: a generator's `finally` runs then, or as soon as its own await settles (`stream.signal` tells it).
 */
async function pump (source: Iterable<unknown> | AsyncIterable<unknown>, stream: SseStream): Promise<void> {
  const iterator = open(source)
  let isUsedUp = false
  let cleanUpFailure: { error: unknown } | undefined
  const released = stream.closed
    .then(async () => { if (!isUsedUp) await iterator.return?.() })
    .catch((error: unknown) => { cleanUpFailure = { error } })
  try {
    isUsedUp = await sendAll(iterator, stream)
  } catch (error) {
    // What fails because the stream is over (a destroyed Readable, an aborted fetch) is no error.
    if (stream.isOpen) throw error
  }
  if (!stream.isOpen) await released
  if (cleanUpFailure) throw cleanUpFailure.error
}

/** Settles true when the iterator is used up, false when the stream is over first. */
async function sendAll (iterator: Iterator<unknown> | AsyncIterator<unknown>, stream: SseStream): Promise<boolean> {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  for (;;) {
    const { done, value } = await iterator.next()
    if (done) break
    const event = value instanceof Uint8Array ? chunkEvent(text, value) : toEvent(value)
    if (event && !(await stream.send(event))) return false
  }
  // Throws when the bytes stopped inside a character.
  text.decode()
  return true
}

function chunkEvent (text: InstanceType<typeof TextDecoder>, chunk: Uint8Array): WireEvent | undefined {
  const data = text.decode(chunk, { stream: true })
  return data === '' ? undefined : { data }
}

function open (source: Iterable<unknown> | AsyncIterable<unknown>): Iterator<unknown> | AsyncIterator<unknown> {
  if (source instanceof Readable) return readableIterator(source)
  if (source instanceof ReadableStream) return webIterator(source)
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
}

/** A Readable's own iterator cannot be returned while a read is pending; destroying it can. */
function readableIterator (readable: Readable): AsyncIterator<unknown> {
  const iterator = readable[Symbol.asyncIterator]()
  return {
    next: () => iterator.next(),
    return: async () => {
      readable.destroy()
      return { done: true, value: undefined }
    }
  }
}

/** The same for a web stream: cancel reaches its source at once. */
function webIterator (stream: ReadableStream<unknown>): AsyncIterator<unknown> {
  const reader = stream.getReader()
  return {
    next: async () => {
      const { done, value } = await reader.read()
      return done ? { done: true, value: undefined } : { done: false, value }
    },
    return: async () => {
      await reader.cancel()
      return { done: true, value: undefined }
    }
  }
}

function toEvent (item: unknown): WireEvent {
  if (isWireEvent(item)) return item
  if (isItem(item)) return { data: item }
  throw new errors.FST_SSE_BAD_SOURCE(`the item ${show(item)}: give an event { id?, event?, data?, retry? } or wrap it as { data }`)
}

function isItem (value: unknown): boolean {
  return value === null || ['string', 'number', 'bigint', 'boolean'].includes(typeof value) || value instanceof Uint8Array || isWireEvent(value)
}

function isMany (value: unknown): value is Iterable<unknown> | AsyncIterable<unknown> {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false
  return Symbol.asyncIterator in value || Symbol.iterator in value
}

function checkUpstream (response: Response): void {
  const type = response.headers.get('content-type') ?? 'none'
  if (response.ok && /^\s*text\/event-stream\s*(;|$)/i.test(type)) return
  dispose(response)
  throw new errors.FST_SSE_BAD_UPSTREAM(response.status, show(type))
}

/** What a subscription of `app.topics` is subscribed to; undefined for other sources, of which nothing is known. */
export function topicsOf (source: unknown): readonly string[] | undefined {
  if (typeof source !== 'object' || source === null || !('topics' in source)) return undefined
  return [source.topics].flat() as string[]
}
