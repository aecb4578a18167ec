import type { Writable } from 'node:stream'
import { CommandError } from '../command.ts'
import type { Call, Terminal } from '../command.ts'
import { FORMATS } from '../../producers/formats.ts'
import { MAX_LINE } from './lines.ts'
import type { Line } from './lines.ts'

/** An event from stdin as one line of NDJSON, and the number of the line that completed it. */
export interface InputEvent { number: number, json: string }

/** Returns the event that a line completes, if any. Throws a `CommandError` for an invalid line. */
export type EventReader = (line: Line) => InputEvent[]

/** How lines are read according to the command line: as text, with `--ndjson`, or with `--sse`. */
export function eventReader ({ switches, values }: Call): EventReader {
  const event = values.get('event')
  if (switches.has('sse')) return eventStreamReader(event)
  if (switches.has('ndjson')) return line => line.text.trim() === '' ? [] : [eventOfJson(line, event)]
  return ({ number, text }) => [{ number, json: JSON.stringify({ event, data: text }) }]
}

/** Explains the usage if stdin is a terminal. */
export function greetTyping (stdin: Terminal['stdin'], stderr: Writable): void {
  if (!(stdin as { isTTY?: boolean }).isTTY) return
  stderr.write('resumable-sse: each line you type is published; press Ctrl-D to end\n')
}

/** Keeps the line unchanged, including the format of numbers and the order of keys. Adds a name if it has none. */
function eventOfJson ({ number, text }: Line, event: string | undefined): InputEvent {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new CommandError(`line ${number} is not JSON: ${(error as Error).message}`)
  }
  const isNamed = typeof value !== 'object' || value === null || Array.isArray(value) || Object.hasOwn(value, 'event')
  if (event === undefined || isNamed) return { number, json: text }
  const members = text.trim().slice(1)
  const comma = Object.keys(value as object).length > 0 ? ',' : ''
  return { number, json: `{"event":${JSON.stringify(event)}${comma}${members}` }
}

/** Parses an event stream as the service does: ids, `retry`, comments and `stream.*` events are omitted. */
function eventStreamReader (name: string | undefined): EventReader {
  // The service enforces its own limits.
  const limits = { maxEventBytes: MAX_LINE, maxBodyBytes: MAX_LINE, maxBatchBytes: MAX_LINE, maxBatchEvents: 1 }
  const format = FORMATS.get('text/event-stream')!.create(limits)
  return line => {
    try {
      const event = format.add({ ...line, bytes: Buffer.byteLength(line.text) + 1 })
      if (event === undefined) return []
      return [{ number: line.number, json: JSON.stringify({ event: event.event ?? name, data: event.data }) }]
    } catch (error) {
      throw new CommandError((error as Error).message)
    }
  }
}
