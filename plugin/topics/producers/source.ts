import type * as EventSourceParser from 'eventsource-parser'
import { requirePeer } from '../../common/peer.ts'
import { show } from '../../common/show.ts'
import { chunkEvent, iterate, toEvent } from '../../reply/response/pump.ts'
import { dispose, isBytes, isItem, isMany, isResponse, isThenable } from '../../reply/source-kind.ts'
import type { Many, ResponseLike, WebStreamLike } from '../../reply/source-kind.ts'
import type { WireEvent } from '../../reply/wire.ts'
import { errors } from '../errors.ts'
import { RESERVED_PREFIX } from '../feed/frames.ts'

/** Events, strings or bytes, one after another, or the Response of a request to another event stream. */
export type ProducedItems = Iterable<unknown> | AsyncIterable<unknown> | WebStreamLike | ResponseLike

/**
 * The source of `app.topics.produce()`: items as for `reply.sse()`, a promise of them, or a function that creates them.
 * The signal aborts when the producer should stop. Ids are ignored: the log assigns the ids of a topic's events.
 */
export type ProducerSource =
  | ProducedItems
  | PromiseLike<ProducedItems>
  | ((context: { signal: AbortSignal }) => ProducedItems | PromiseLike<ProducedItems>)

/** Rejects values that cannot be a source, before anything is done. Throws `TOPICS_BAD_SOURCE`. */
export function checkProducerSource (source: unknown): void {
  if (typeof source === 'function' || isThenable(source) || isResponse(source) || isMany(source)) return
  throw new errors.TOPICS_BAD_SOURCE(show(source))
}

/** Settings for reading a source. */
export interface ReadInit { signal: AbortSignal, maxEventBytes: number }

/**
 * The events of a source until it ends or the signal aborts; the source is then released immediately. Opening and
 * reading reject with the error of the source. Not nested generators, because each level costs time for each event.
 */
export async function openSource (source: ProducerSource, init: ReadInit): Promise<AsyncIterable<WireEvent>> {
  const { signal } = init
  const given = typeof source === 'function' ? source({ signal }) : source
  const waiting = new Waiting(signal)
  const items: unknown = await waiting.for(Promise.resolve(given))
  if (items === undefined && signal.aborted) return nothing()
  if (isResponse(items)) return readResponse(items, init, waiting)
  if (isMany(items)) return toEvents(items, waiting)
  throw new errors.TOPICS_BAD_SOURCE(show(items))
}

async function * nothing (): AsyncGenerator<WireEvent> {}

async function * toEvents (items: Many, waiting: Waiting): AsyncGenerator<WireEvent> {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  for await (const item of untilAborted(items, waiting)) {
    if (!isBytes(item) && !isItem(item)) throw new errors.TOPICS_BAD_SOURCE(`the item ${show(item)}`)
    const event = isBytes(item) ? chunkEvent(text, item) : toEvent(item)
    if (event) yield event
  }
  // Throws if the bytes ended inside a character.
  text.decode()
}

/**
 * The events of an upstream. Its in-band events (`stream.*`) concern its own stream and are omitted. An event that is
 * too large for the topic fails before it is complete, because an upstream that never ends it would fill the memory.
 */
async function * readResponse (
  response: ResponseLike,
  { maxEventBytes }: ReadInit,
  waiting: Waiting
): AsyncGenerator<WireEvent> {
  const type = response.headers.get('content-type') ?? 'none'
  if (!response.ok || !/^\s*text\/event-stream\s*(;|$)/i.test(type) || !isMany(response.body)) {
    dispose(response)
    throw new errors.TOPICS_BAD_UPSTREAM(response.status, show(type))
  }
  const { createParser } = requirePeer<typeof EventSourceParser>('eventsource-parser', 'produce() with a Response')
  const events: WireEvent[] = []
  const onEvent = ({ event, data }: WireEvent): void => {
    if (!event?.startsWith(RESERVED_PREFIX)) events.push({ event, data })
  }
  const onError = ({ type }: EventSourceParser.ParseError): void => {
    if (type === 'max-buffer-size-exceeded') throw new errors.TOPICS_EVENT_TOO_LARGE('', maxEventBytes, 'more')
  }
  const parser = createParser({ onEvent, onError, maxBufferSize: maxEventBytes })
  const text = new TextDecoder('utf-8')
  for await (const chunk of untilAborted(response.body, waiting)) {
    parser.feed(text.decode(chunk as Uint8Array, { stream: true }))
    yield * events.splice(0)
  }
}

/** Yields items until there are no more or the signal aborts, without waiting for a pending item. */
async function * untilAborted (items: Many, waiting: Waiting): AsyncGenerator {
  const iterator = iterate(items)
  try {
    for (;;) {
      const next = await waiting.for(Promise.resolve(iterator.next()))
      if (next === undefined || next.done) return
      yield next.value
    }
  } finally {
    // A generator that waits for something else does not return until that settles.
    Promise.resolve(iterator.return?.()).catch(() => {})
  }
}

/**
 * Waits for one promise after another, and for none once the signal has aborted. All of them share one listener, which
 * stays on the signal: a listener and a race for each event cost a tenth of the total work.
 */
class Waiting {
  readonly #signal: AbortSignal
  #leave = (): void => {}

  constructor (signal: AbortSignal) {
    this.#signal = signal
    signal.addEventListener('abort', () => { this.#leave() }, { once: true })
  }

  /** Settles like the promise, or resolves to undefined if the signal aborts first. */
  for<T> (promise: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#leave = () => { resolve(undefined) }
      promise.then(resolve, reject)
      if (this.#signal.aborted) this.#leave()
    })
  }
}
