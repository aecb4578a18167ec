import type * as EventSourceParser from 'eventsource-parser'
import { requirePeer } from '../../common/peer.ts'
import { show } from '../../common/show.ts'
import { chunkEvent, iterate, toEvent } from '../../reply/pump.ts'
import { dispose, isBytes, isItem, isMany, isResponse, isThenable } from '../../reply/source-kind.ts'
import type { Many, ResponseLike, WebStreamLike } from '../../reply/source-kind.ts'
import type { WireEvent } from '../../reply/wire.ts'
import { errors } from '../errors.ts'
import { RESERVED_PREFIX } from '../frames.ts'

/** Events, strings or bytes one after the other, or the Response of a request to another event stream. */
export type ProducedItems = Iterable<unknown> | AsyncIterable<unknown> | WebStreamLike | ResponseLike

/**
 * What `app.topics.produce()` takes: items as `reply.sse()` does, a promise of them, or a function that makes them. The
 * signal aborts when the producer is to stop. Ids are ignored: events of a topic get theirs from the log.
 */
export type ProducerSource =
  | ProducedItems
  | PromiseLike<ProducedItems>
  | ((context: { signal: AbortSignal }) => ProducedItems | PromiseLike<ProducedItems>)

/** Refuses what cannot be a source, before anything is done. Throws `TOPICS_BAD_SOURCE`. */
export function checkProducerSource (source: unknown): void {
  if (typeof source === 'function' || isThenable(source) || isResponse(source) || isMany(source)) return
  throw new errors.TOPICS_BAD_SOURCE(show(source))
}

/**
 * Yields the events of a source until it ends or the signal aborts; then the source is released at once. Throws what
 * the source throws.
 */
export async function * readSource (source: ProducerSource, signal: AbortSignal): AsyncGenerator<WireEvent> {
  const given = typeof source === 'function' ? source({ signal }) : source
  const items: unknown = await unlessAborted(Promise.resolve(given), signal)
  if (items === undefined && signal.aborted) return
  if (isResponse(items)) yield * readResponse(items, signal)
  else if (isMany(items)) yield * toEvents(items, signal)
  else throw new errors.TOPICS_BAD_SOURCE(show(items))
}

async function * toEvents (items: Many, signal: AbortSignal): AsyncGenerator<WireEvent> {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  for await (const item of untilAborted(items, signal)) {
    if (!isBytes(item) && !isItem(item)) throw new errors.TOPICS_BAD_SOURCE(`the item ${show(item)}`)
    const event = isBytes(item) ? chunkEvent(text, item) : toEvent(item)
    if (event) yield event
  }
  // Throws when the bytes stopped inside a character.
  text.decode()
}

/** The events of an upstream. Its in-band events (`stream.*`) are about its own stream, and are left out. */
async function * readResponse (response: ResponseLike, signal: AbortSignal): AsyncGenerator<WireEvent> {
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
  const parser = createParser({ onEvent })
  const text = new TextDecoder('utf-8')
  for await (const chunk of untilAborted(response.body, signal)) {
    parser.feed(text.decode(chunk as Uint8Array, { stream: true }))
    yield * events.splice(0)
  }
}

/** Yields items until there are no more or the signal aborts, without waiting for an item that never comes. */
async function * untilAborted (items: Many, signal: AbortSignal): AsyncGenerator {
  const iterator = iterate(items)
  try {
    for (;;) {
      const next = await unlessAborted(Promise.resolve(iterator.next()), signal)
      if (next === undefined || next.done) return
      yield next.value
    }
  } finally {
    // A generator that waits for something else does not return before that settles.
    Promise.resolve(iterator.return?.()).catch(() => {})
  }
}

/** Settles with undefined when the signal aborts first. */
async function unlessAborted<T> (promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) {
    promise.catch(() => {})
    return undefined
  }
  let onAbort = (): void => {}
  const aborted = new Promise<undefined>(resolve => {
    onAbort = () => { resolve(undefined) }
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
