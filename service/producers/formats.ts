import { checkEvent } from 'fastify-resumable-sse/topics'
import type { CheckedEvent } from 'fastify-resumable-sse/topics'
import type { BodyLimits } from '../http/bodies/bodies.ts'
import { parseEventLine } from '../http/bodies/ndjson.ts'
import { errors } from '../errors.ts'
import type { Line } from './lines.ts'

/** Turns lines into events. */
export interface LineFormat {
  /** The event that a line completes; undefined when it completes none. Throws for a line that is not valid. */
  add: (line: Line) => CheckedEvent | undefined
  /** Bytes of earlier lines that wait for the rest of their event. */
  readonly heldBytes: number
}

export interface FormatInit {
  create: (limits: BodyLimits) => LineFormat
  maxLineBytes: (limits: BodyLimits) => number
  /** The configuration variable of that limit. */
  limitName: string
  /** As in `LineSplitterInit`. */
  breaksAtCr?: true
}

type EventLimits = Pick<BodyLimits, 'maxEventBytes'>

/** The formats of a live body, by media type. */
export const FORMATS: ReadonlyMap<string, FormatInit> = new Map([
  ['application/x-ndjson', {
    create: (limits: EventLimits) => perLine(line => parseEventLine(line, limits)),
    // As much as a single event has in a publish: JSON may be longer than what is delivered.
    maxLineBytes: ({ maxBodyBytes }: BodyLimits) => maxBodyBytes,
    limitName: 'MAX_BODY_BYTES'
  }],
  ['text/plain', {
    create: (limits: EventLimits) =>
      perLine(({ number, text }) => checkEvent({ data: text }, ` on line ${number}`, limits)),
    maxLineBytes: ({ maxEventBytes }: BodyLimits) => maxEventBytes,
    limitName: 'MAX_EVENT_BYTES'
  }],
  ['text/event-stream', {
    create: (limits: EventLimits) => new EventStreamFormat(limits),
    maxLineBytes: ({ maxEventBytes }: BodyLimits) => maxEventBytes,
    limitName: 'MAX_EVENT_BYTES',
    breaksAtCr: true
  }]
])

function perLine (add: LineFormat['add']): LineFormat {
  return { add, heldBytes: 0 }
}

const FIELD = /^(data|event)(?:$|: ?)/

/**
 * The event stream of another server: names and data are published. Its ids are not, because ids come from the log, nor
 * `retry` and comments, which are about its own connection, nor its `stream.*` events, which are about its own stream.
 */
class EventStreamFormat implements LineFormat {
  readonly #limits: EventLimits
  #event = ''
  #data: string[] = []
  #bytes = 0

  constructor (limits: EventLimits) {
    this.#limits = limits
  }

  get heldBytes (): number { return this.#bytes }

  add ({ number, text, bytes }: Line): CheckedEvent | undefined {
    // WHATWG HTML, 9.2.6: one leading byte order mark is ignored.
    const line = number === 1 ? text.replace(/^\uFEFF/, '') : text
    if (line === '') return this.#dispatch(number)
    const field = FIELD.exec(line)
    if (!field) return undefined
    const value = line.slice(field[0].length)
    if (field[1] === 'event') this.#event = value
    else this.#data.push(value)
    this.#bytes += bytes
    const { maxEventBytes } = this.#limits
    if (this.#bytes <= 2 * maxEventBytes) return undefined
    throw new errors.SERVICE_LINE_TOO_LONG(number, maxEventBytes, 'MAX_EVENT_BYTES')
  }

  #dispatch (number: number): CheckedEvent | undefined {
    const event = this.#event
    const data = this.#data.join('\n')
    const isEmpty = this.#data.length === 0
    this.#event = ''
    this.#data = []
    this.#bytes = 0
    if (isEmpty || event.startsWith('stream.')) return undefined
    return checkEvent({ event: event === '' ? undefined : event, data }, ` before line ${number}`, this.#limits)
  }
}
