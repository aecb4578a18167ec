import { topicsErrors as errors } from 'fastify-resumable-sse/topics'
import { JsonCursor } from './json-cursor.ts'

/** Levels of objects and arrays in `data`: common JSON parsers give up soon after. */
const MAX_DEPTH = 1_000

/**
 * Replaces `data` of an event, or of each event in an array, with its own text where it is no string: numbers, the
 * order of keys and all else reach subscribers as the publisher wrote them. Takes a parsed value and the text it was
 * parsed from; changes the value and returns it. `name` is what an event is called in the message, such as ` on line
 * 3`; in an array it is its index. Throws `TOPICS_BAD_EVENT` where data is nested too deep.
 */
export function keepRawData (value: unknown, text: string, name = ''): unknown {
  const cursor = new JsonCursor(text)
  const events: unknown[] = Array.isArray(value) ? value : [value]
  let at = 0
  cursor.forEachValue(() => {
    const span = cursor.valueOf('data')
    const event = events[at++] as { data: unknown }
    if (span === undefined || typeof event.data === 'string') return
    if (span.depth > MAX_DEPTH) {
      throw new errors.TOPICS_BAD_EVENT(
        Array.isArray(value) ? ` ${at - 1}` : name,
        `field "data" must be nested at most ${MAX_DEPTH} levels deep, saw ${span.depth}`
      )
    }
    event.data = copyOf(text.slice(span.from, span.to))
  })
  return value
}

/** A slice keeps the whole text in memory, for as long as the event is kept. */
function copyOf (slice: string): string {
  return Buffer.from(slice).toString()
}
