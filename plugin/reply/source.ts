import { errors } from './errors.ts'
import { show } from '../common/show.ts'
import type { AnyEvents, SseEvents, SseItem } from './events.ts'
import { passThrough } from './response/pass-through.ts'
import { pump, toEvent } from './response/pump.ts'
import { dispose, has, isItem, isMany, isResponse, isThenable } from './source-kind.ts'
import type { ResponseLike, WebStreamLike } from './source-kind.ts'
import type { SseStream } from './stream/sse-stream.ts'

/** Streams to one response. The stream ends when it settles; a rejection is the error of the source. */
export type SourceRun = () => void | Promise<void>

/** Is notified when a run fails. */
export interface RunListener { sourceFailed: (error: unknown) => void }

export const START = Symbol('fastify-resumable-sse.start')

/** A run that lasts as long as its stream, and so has no end that would have to be waited for. */
export interface LastingRun {
  (): Promise<void>
  /** In place of a call: without a promise for as long as it lasts. */
  [START]: (listener: RunListener) => void
}

function isLasting (run: SourceRun): run is LastingRun {
  return START in run
}

/** Starts what `openSource` has opened. */
export function startRun (run: SourceRun, listener: RunListener): void {
  if (isLasting(run)) run[START](listener)
  else Promise.resolve(run()).catch((error: unknown) => listener.sourceFailed(error))
}

/**
 * The stream that a source is opened with. For a typed source it is a union with the untyped stream, so that a source
 * without types, such as `app.topics.subscribe('news')`, fits a typed route, and vice versa.
 */
export type OpenedStream<E extends SseEvents = AnyEvents> = string extends keyof E
  ? SseStream
  : SseStream<E> | SseStream

/**
 * A source that decides before the first byte, such as a topic subscription.
 *
 * `open` is called once for each stream, and nothing is sent until it settles. It returns the function that streams, or
 * undefined to respond with 204, which makes EventSource stop permanently; its error is passed to Fastify's error
 * handler. The state of one stream lives in that function, so that one source can serve many requests.
 */
export interface OpenableSource<E extends SseEvents = AnyEvents> {
  /** The topics that are streamed. The grant of the request must cover them, see `SseStream.checkTopics()`. */
  readonly topics?: string | readonly string[] | undefined
  open (stream: OpenedStream<E>): SourceRun | undefined | Promise<SourceRun | undefined>
}

type Many<E extends SseEvents> =
  Iterable<SseItem<E>> | AsyncIterable<SseItem<E>> | WebStreamLike<SseItem<E> | Uint8Array>

/** What a function may return, or a promise may resolve to, to have it streamed. */
type Returned<E extends SseEvents> = Many<E> | ResponseLike | OpenableSource<E>

/**
 * What `reply.sse()` can stream.
 *
 * - one event, or just its data;
 * - an iterable, async iterable, Readable or web ReadableStream of events or data. Bytes in it are one UTF-8 text,
 *   split anywhere: each chunk becomes one event, and a character that was split is joined;
 * - a fetch Response with content-type `text/event-stream`, forwarded byte by byte;
 * - an object with `open`, such as a topic subscription, see `OpenableSource`;
 * - a promise of one of these, or a function without parameters that returns one or a promise of one. Nothing is sent
 *   before that settles, so the response may still be an error or 204;
 * - a function with the stream as parameter. What it returns is streamed as above; if it returns nothing the stream
 *   stays open for manual use, and if it returns a promise of nothing the stream ends when that settles.
 *
 * A generator may return an object with `open`: it is streamed after the generator's own items.
 */
export type SseSource<E extends SseEvents = AnyEvents> =
  | SseItem<E>
  | Returned<E>
  | PromiseLike<Returned<E>>
  | ((stream: SseStream<E>) => Returned<E> | void | Promise<Returned<E> | void>)

/**
 * Rejects values that cannot be streamed, before anything is sent. Throws `FST_SSE_BAD_SOURCE` or
 * `FST_SSE_BAD_UPSTREAM`.
 */
export function checkSource (source: unknown): void {
  if (isThenable(source) || typeof source === 'function' || isOpenable(source)) return
  if (isResponse(source)) return checkUpstream(source)
  if (isMany(source) || isItem(source)) return
  throw new errors.FST_SSE_BAD_SOURCE(
    `${show(source)}: pass an event { id?, event?, data?, retry? }, an (async) iterable, a Readable, ` +
      'a ReadableStream, a fetch Response, a subscription or a function'
  )
}

/** One stream whose source is being opened. */
export interface Opening {
  stream: SseStream
  /**
   * For a source that is returned while the stream is running: settles as `opened` does; the first byte waits for it,
   * unless it was already sent.
   */
  late: (opened: Promise<SourceRun | undefined>) => Promise<SourceRun | undefined>
}

/**
 * Opens a source that was checked; nothing is streamed until the function is called to which this resolves. Resolves to
 * undefined if the source has nothing for this client. Rejects with the error of the source, or with 403 for topics
 * that the request may not read.
 */
export async function openSource (source: unknown, opening: Opening): Promise<SourceRun | undefined> {
  const { stream } = opening
  const topics = topicsOf(source)
  if (topics.length > 0) stream.checkTopics(topics)
  if (isThenable(source)) return openPromise(source, opening)
  if (typeof source === 'function') return openFunction(source as Callback, opening)
  if (isOpenable(source)) return openOne(source, stream)
  if (isResponse(source)) return endAfter(stream, () => passThrough(source, stream))
  if (isMany(source)) {
    return endAfter(stream, async () => {
      const returned = await pump(source, stream)
      // Other return values of generators are ignored.
      if (isOpenable(returned)) await runReturned(returned, opening)
    })
  }
  return endAfter(stream, () => stream.send(toEvent(source)))
}

/**
 * The topics that a source names, such as those of a subscription; none for other sources, whose topics are unknown.
 */
export function topicsOf (source: unknown): readonly string[] {
  if (!isObject(source) || !('topics' in source) || source.topics === undefined) return []
  const topics = typeof source.topics === 'string' ? [source.topics] : source.topics
  if (isMany(topics) && Symbol.iterator in topics) {
    const named = [...topics]
    if (named.every(topic => typeof topic === 'string')) return named
  }
  throw new errors.FST_SSE_BAD_SOURCE(`the topics ${show(topics)} of a source: pass a topic or a list of topics`)
}

function isObject (value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

async function openOne (source: OpenableSource, stream: SseStream): Promise<SourceRun | undefined> {
  const run: unknown = await source.open(stream)
  if (run === undefined) return undefined
  if (typeof run !== 'function') {
    throw new errors.FST_SSE_BAD_SOURCE(
      `${show(run)} as the result of open(): return a function that streams, or undefined`
    )
  }
  return isLasting(run as SourceRun) ? run as LastingRun : endAfter(stream, run as SourceRun)
}

type Callback = (stream?: SseStream) => unknown

/**
 * A function without parameters cannot write: it only returns the source. So it is called before the first byte and
 * before a one-time token is spent. A function with the stream as parameter is itself the source.
 */
async function openFunction (source: Callback, opening: Opening): Promise<SourceRun | undefined> {
  return source.length === 0 ? openPromise(source(), opening) : () => runFunction(source, opening)
}

async function openPromise (made: unknown, opening: Opening): Promise<SourceRun | undefined> {
  const returned = isThenable(made) ? await made : made
  if (returned === undefined) {
    throw new errors.FST_SSE_BAD_SOURCE(
      'a function without parameters, or a promise, that returned nothing: ' +
        'return a source, or take the stream as parameter'
    )
  }
  return openReturned(returned, opening)
}

async function runFunction (source: Callback, opening: Opening): Promise<void> {
  const { stream } = opening
  const made = source(stream)
  // A plain callback that returns nothing has set up its own pushes: the stream stays open until it or the client ends
  // it.
  if (made === undefined) return
  const returned = isThenable(made) ? await made : made
  if (returned === undefined) stream.end()
  else await runReturned(returned, opening)
}

/** Streams what a function or a generator returned, as if it had been passed to `reply.sse()`. */
async function runReturned (returned: unknown, opening: Opening): Promise<void> {
  const run = await opening.late(openReturned(returned, opening))
  await run?.()
}

/** The returned source is released if it is never streamed. */
async function openReturned (returned: unknown, opening: Opening): Promise<SourceRun | undefined> {
  const { stream } = opening
  let isRun = false
  void stream.closed.then(() => { if (!isRun) dispose(returned) })
  checkSource(returned)
  if (typeof returned === 'function') throw new errors.FST_SSE_BAD_SOURCE('a function that returns a function')
  const run = await openSource(returned, opening)
  return run && (() => {
    isRun = true
    return run()
  })
}

function endAfter (stream: SseStream, run: () => unknown): SourceRun {
  return () => Promise.resolve(run()).then(() => stream.end())
}

function checkUpstream (response: ResponseLike): void {
  const type = response.headers.get('content-type') ?? 'none'
  if (response.ok && /^\s*text\/event-stream\s*(;|$)/i.test(type)) return
  dispose(response)
  throw new errors.FST_SSE_BAD_UPSTREAM(response.status, show(type))
}

function isOpenable (value: unknown): value is OpenableSource {
  return has(value, 'open')
}
