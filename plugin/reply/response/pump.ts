import { show } from '../../common/show.ts'
import { errors } from '../errors.ts'
import { isBytes, isItem, isReadable, isWebStream } from '../source-kind.ts'
import type { Many, ReadableLike, WebStreamLike } from '../source-kind.ts'
import { isWireEvent } from '../wire.ts'
import type { WireEvent } from '../wire.ts'
import type { SseStream } from '../stream/sse-stream.ts'

/**
 * Sends item by item, waiting for room. When the stream ends the iterator is returned immediately, even during a wait:
 * a generator's `finally` runs then, or as soon as its own await settles (`stream.signal` aborts). Resolves to the
 * iterator's return value; to undefined if the stream ended first.
 */
export async function pump (source: Many, stream: SseStream): Promise<unknown> {
  const iterator = iterate(source)
  let usedUp: { returned: unknown } | undefined
  let cleanUpFailure: { error: unknown } | undefined
  const released = stream.closed
    .then(async () => { if (!usedUp) await iterator.return?.() })
    .catch((error: unknown) => { cleanUpFailure = { error } })
  try {
    usedUp = await sendAll(iterator, stream)
  } catch (error) {
    // Errors caused by the end of the stream (a destroyed Readable, an aborted fetch) do not count.
    if (stream.isOpen) throw error
  }
  if (!stream.isOpen) await released
  if (cleanUpFailure) throw cleanUpFailure.error
  return usedUp?.returned
}

type AnyIterator = Iterator<unknown> | AsyncIterator<unknown>

/** Resolves to the return value when the iterator is exhausted; to undefined if the stream ended first. */
async function sendAll (iterator: AnyIterator, stream: SseStream): Promise<{ returned: unknown } | undefined> {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  for (;;) {
    const { done, value } = await iterator.next()
    if (done) {
      // Throws if the bytes ended inside a character.
      text.decode()
      return { returned: value }
    }
    const event = isBytes(value) ? chunkEvent(text, value) : toEvent(value)
    if (event && !(await stream.send(event))) return undefined
  }
}

/** Bytes as an event; undefined if they are only the beginning of a character. Throws for bytes that are not UTF-8. */
export function chunkEvent (text: InstanceType<typeof TextDecoder>, chunk: Uint8Array): WireEvent | undefined {
  const data = text.decode(chunk, { stream: true })
  return data === '' ? undefined : { data }
}

/** An item of a source as an event. Throws `FST_SSE_BAD_SOURCE`. */
export function toEvent (item: unknown): WireEvent {
  if (isWireEvent(item)) return item
  if (isItem(item)) return { data: item }
  throw new errors.FST_SSE_BAD_SOURCE(
    `the item ${show(item)}: pass an event { id?, event?, data?, retry? } or wrap it as { data }`
  )
}

/**
 * An iterator over any source with several items. Its `return()` releases the source immediately, even while a `next()`
 * is pending.
 */
export function iterate (source: Many): AnyIterator {
  if (isReadable(source)) return readableIterator(source)
  if (isWebStream(source)) return webIterator(source)
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
}

/** A Readable's own iterator cannot be returned while a read is pending, but the Readable can be destroyed. */
function readableIterator (readable: ReadableLike): AsyncIterator<unknown> {
  const iterator = readable[Symbol.asyncIterator]()
  return {
    next: () => iterator.next(),
    return: async () => {
      readable.destroy()
      return { done: true, value: undefined }
    }
  }
}

/** The same for a web stream: cancel reaches its source immediately. */
function webIterator (stream: WebStreamLike): AsyncIterator<unknown> {
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
