import { MAX_RETRY_MS } from '../../../reply/wire.ts'
import type { EventId } from '../../event-id.ts'
import { EVENT_PATTERN } from '../../new-event.ts'
import type { LogEntry } from '../topic-log.ts'

/** The fields of an event as Redis has them. */
export interface RedisFields { event: string | undefined, data: string, retry: string | undefined }

const EVENT = new RegExp(EVENT_PATTERN)
/** What stands for what cannot be read, as in a decoder of UTF-8. No client listens to an event of this name. */
const UNREADABLE = '\ufffd'

/**
 * An event from Redis. `publish()` checks what it appends, but a program of another kind may have run the script, or
 * written by itself. What cannot go on the wire is replaced, because it must fail for neither the process nor the
 * readers of all that follows.
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
