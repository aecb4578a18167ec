import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'
import { parse } from 'secure-json-parse'
import { show } from 'fastify-resumable-sse'
import { checkEvent, topicsErrors } from 'fastify-resumable-sse/topics'
import type { CheckedEvent, Turns } from 'fastify-resumable-sse/topics'
import { errors } from '../../errors.ts'
import { keepRawData } from './raw-data.ts'

/** Limits of an NDJSON batch. */
export interface BatchLimits { maxBatchBytes: number, maxBatchEvents: number, maxEventBytes: number }

const LF = 0x0a

/**
 * Parses the events of an NDJSON body as it arrives, checking each line when it is complete; the body is never held as
 * a whole. Empty lines are skipped, and the last line needs no line break. Rejects with the error of the first invalid
 * line and its number, counted from 1, but only after the whole body has arrived, because many clients read no response
 * before they have sent everything. All bodies share the turns: a compressed body of 300 bytes can have 10,000 events.
 */
export async function readLines (payload: Readable, limits: BatchLimits, turns: Turns): Promise<CheckedEvent[]> {
  const events: CheckedEvent[] = []
  let failure: unknown
  for await (const lines of linesOf(payload, limits.maxBatchBytes)) {
    if (failure !== undefined) continue
    try {
      for (const line of lines) {
        add(events, line, limits)
        if (turns.mustPause()) await turns.next()
      }
    } catch (error) {
      failure = error
    }
  }
  if (failure !== undefined) throw failure
  return events
}

/** A line that is not empty, without its line break. */
interface Line { number: number, bytes: Buffer }

function add (events: CheckedEvent[], { number, bytes }: Line, limits: BatchLimits): void {
  if (!isUtf8(bytes)) throw new errors.SERVICE_BAD_LINE(number, 'UTF-8', 'other bytes')
  const event = parseEventLine({ number, text: bytes.toString() }, limits)
  if (event === undefined) return
  if (events.length === limits.maxBatchEvents) {
    throw new topicsErrors.TOPICS_BAD_BATCH(limits.maxBatchEvents, `another on line ${number}`)
  }
  events.push(event)
}

/** The event on a line; undefined for an empty line. Throws `SERVICE_BAD_LINE` and what `checkEvent` throws. */
export function parseEventLine (
  { number, text }: { number: number, text: string },
  limits: Pick<BatchLimits, 'maxEventBytes'>
): CheckedEvent | undefined {
  const json = text.trim()
  if (json === '') return undefined
  const name = ` on line ${number}`
  return checkEvent(keepRawData(parseLine(json, number), json, name), name, limits)
}

/** Keys that would change a prototype are an error, as in a JSON body. */
function parseLine (text: string, number: number): unknown {
  try {
    return parse(text, null, { protoAction: 'error', constructorAction: 'error' })
  } catch {
    throw new errors.SERVICE_BAD_LINE(number, 'a JSON object', show(text))
  }
}

/**
 * The lines that each chunk completes: work per line must be cheap, because a body may consist of nothing but line
 * breaks. The payload stays open if it is not read to its end: the response is sent on its connection.
 */
async function * linesOf (payload: Readable, maxBytes: number): AsyncGenerator<Line[], void> {
  let bytes = 0
  let number = 1
  let rest: Buffer[] = []
  for await (const chunk of payload.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new errors.SERVICE_BODY_TOO_LARGE(maxBytes)
    const lines: Line[] = []
    let from = 0
    for (let at = chunk.indexOf(LF); at !== -1; at = chunk.indexOf(LF, from)) {
      if (at > from || rest.length > 0) {
        lines.push({ number, bytes: Buffer.concat([...rest, chunk.subarray(from, at)]) })
      }
      rest = []
      from = at + 1
      number++
    }
    if (from < chunk.length) rest.push(chunk.subarray(from))
    yield lines
  }
  yield [{ number, bytes: Buffer.concat(rest) }]
}
