import { parseEventId } from '../../ids/event-id.ts'
import type { EventId } from '../../ids/event-id.ts'
import type { LogEntry } from '../topic-log.ts'
import { toLogEntry } from './redis-entry.ts'

/** A message of a script to the followers of a topic. */
export type RedisMessage =
  | { kind: 'entries', entries: LogEntry[] }
  | { kind: 'closed' }
  /** The producer with this lease was asked to stop. */
  | { kind: 'stop', fence: number }
  /** Something changed that the message does not contain; also the meaning of an unreadable message. */
  | { kind: 'resync' }

const LF = 10
const STOP = /^S (\d{1,16})$/
const HEAD = /^E (\d+) (\d+) (\d{1,10})$/
const ENTRY_HEAD = /^(\d{1,10}) (\d{1,10}) (.*)$/

/** Parses `E <ms> <n> <count>\n(<event bytes> <data bytes> <retry>\n<event><data>)…`, `C\n`, `S <fence>\n` or `D\n`. */
export function parseRedisMessage (message: Buffer): RedisMessage {
  const end = message.indexOf(LF)
  const head = message.toString('latin1', 0, end)
  if (head === 'C') return { kind: 'closed' }
  const stop = STOP.exec(head)?.[1]
  if (stop !== undefined) return { kind: 'stop', fence: Number(stop) }
  const [, ms, n, count] = HEAD.exec(head) ?? []
  const first = parseEventId(`${ms}-${n}`)
  const entries = first && parseEntries(message, end + 1, first, Number(count))
  return entries ? { kind: 'entries', entries } : { kind: 'resync' }
}

function parseEntries (message: Buffer, start: number, first: EventId, count: number): LogEntry[] | undefined {
  const entries: LogEntry[] = []
  let at = start
  for (let added = 0; added < count; added++) {
    const end = message.indexOf(LF, at)
    const [, eventBytes, dataBytes, retry] = ENTRY_HEAD.exec(message.toString('latin1', at, end)) ?? []
    const eventEnd = end + 1 + Number(eventBytes)
    at = eventEnd + Number(dataBytes)
    if (!(at <= message.length)) return undefined
    entries.push(toLogEntry({ ms: first.ms, n: first.n + added }, {
      event: eventBytes === '0' ? undefined : message.toString('utf8', end + 1, eventEnd),
      data: message.toString('utf8', eventEnd, at),
      retry
    }))
  }
  return entries
}
