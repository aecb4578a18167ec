import { MAX_RETRY_MS } from '../../../reply/wire.ts'
import type { EventId } from '../../ids/event-id.ts'
import { EVENT_PATTERN } from '../../new-event.ts'
import type { LogEntry } from '../topic-log.ts'

/** The fields of an event as stored in Redis. */
export interface RedisFields { event: string | undefined, data: string, retry: string | undefined }

const EVENT = new RegExp(EVENT_PATTERN)
/** Replaces unreadable content, as in a UTF-8 decoder. No client listens to an event with this name. */
const UNREADABLE = '\ufffd'

/**
 * Converts an event from Redis. `publish()` checks what it appends, but a different program may have run the script or
 * written entries itself. Anything that cannot be sent is replaced, because it must not fail the process or the readers
 * of all later events.
 */
export function toLogEntry (id: EventId, { event, data, retry }: RedisFields): LogEntry {
  return {
    id,
    event: event === undefined || EVENT.test(event) ? event : UNREADABLE,
    data: data.replaceAll('\u0000', UNREADABLE),
    retry: toRetry(retry)
  }
}

function toRetry (text: string | undefined): number | undefined {
  const ms = Number(text)
  return /^\d+$/.test(text ?? '') && ms <= MAX_RETRY_MS ? ms : undefined
}
