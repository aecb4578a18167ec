import { topicsErrors as errors } from 'fastify-resumable-sse/topics'
import { JsonCursor } from './json-cursor.ts'

/** Maximum nesting depth of `data`: common JSON parsers fail at slightly deeper levels. */
const MAX_DEPTH = 1_000

/**
 * Replaces `data` of an event, or of each event in an array, by its original text unless it is a string: subscribers
 * receive the number formats and key order that the publisher wrote. Accepts a parsed value and its text; changes the
 * value and returns it. `name` identifies the event in the message, such as ` on line 3`; in an array the index is
 * used. Throws `TOPICS_BAD_EVENT` if data is nested too deeply.
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

/** A slice would keep the whole text in memory for as long as the event exists. */
function copyOf (slice: string): string {
  return Buffer.from(slice).toString()
}
